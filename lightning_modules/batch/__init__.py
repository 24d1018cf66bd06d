"""From rows to batches: tokenize, order, pad, and split to fit into memory."""
