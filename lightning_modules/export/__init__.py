"""Trained models on disk: export, load, predict."""
