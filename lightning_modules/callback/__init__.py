"""The callbacks of the training loop: validation, checkpoints, logging, review."""
