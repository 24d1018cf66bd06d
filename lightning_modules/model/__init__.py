"""Pretrained language models: where weights and tokenizer come from."""
