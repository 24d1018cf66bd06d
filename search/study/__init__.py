"""A study: its trials, and who may change them."""
