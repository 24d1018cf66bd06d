"""Processing of text before and after the model."""
