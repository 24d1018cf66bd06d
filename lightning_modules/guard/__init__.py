"""Guards: what a trained model must still be able to do, besides its task."""
