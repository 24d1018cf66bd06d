"""Train, validate and use one fine-tuned language model; nothing here depends on the search."""
