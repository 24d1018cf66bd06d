"""Metrics that several tasks share, or that need a file of their own."""
