"""A study before it starts: ranges, objectives, the first trials."""
