"""Loggers: where curves and summaries go besides the local record."""
