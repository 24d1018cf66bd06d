"""Data sets: where rows come from, how they are checked, split, tokenized and ordered."""
