"""The plan of a study: ranges, objectives and first trials."""
