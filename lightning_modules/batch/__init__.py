"""From rows to batches: tokenize, order, pad, split to fit into memory, and pass them."""
