"""Trained models on disk: written, loaded, asked."""
