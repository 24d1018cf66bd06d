"""Pruners, one algorithm per file."""
