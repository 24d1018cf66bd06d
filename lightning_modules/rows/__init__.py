"""What a row is, before any data set or task."""
