"""Loggers: where curves and summaries go in addition to the local files."""
