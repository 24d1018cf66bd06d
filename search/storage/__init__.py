"""The study's database: transactions, leases and failures."""
