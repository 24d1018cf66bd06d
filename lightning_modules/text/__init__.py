"""Everything that is done to text before and after a model sees it."""
