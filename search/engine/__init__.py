"""Engines: they start and supervise workers."""
