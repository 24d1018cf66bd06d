"""Strategies: how a pretrained model is adapted to the task."""
