"""A study: its trials and the sessions that change them."""
