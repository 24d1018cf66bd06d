"""Pruners, one algorithm a file."""
