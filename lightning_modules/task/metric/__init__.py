"""Metrics that several tasks share, or that need their own file."""
