"""What happens around the training loop: validations, checkpoints, logging."""
