"""Runs that train together: their passes through one frozen network are one pass."""
