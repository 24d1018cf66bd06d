"""Trained runs: found, repeated, exported."""
