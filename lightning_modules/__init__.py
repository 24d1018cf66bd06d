"""Train, validate and use one fine-tuned language model; knows nothing of searching."""
