"""The study's database: every transaction, lease and failure."""
