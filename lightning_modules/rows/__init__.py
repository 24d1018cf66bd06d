"""Rows: the types below data sets and tasks."""
