"""Data sets: where rows come from, and how they are checked and split."""
