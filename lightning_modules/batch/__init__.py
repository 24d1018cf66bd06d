"""From rows to batches: tokenized, ordered, padded, cut to what fits into memory."""
