"""What the ranks of a run do together, each a process with a device of its own."""
