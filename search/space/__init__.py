"""What varies in a study."""
