"""What trains together: the ranks of a run on several devices, and runs in one process."""
