"""Find, repeat, score and export trained runs."""
