"""What people review of a study."""
