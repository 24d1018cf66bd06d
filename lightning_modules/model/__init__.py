"""Language models: where weights and tokenizers come from."""
