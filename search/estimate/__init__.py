"""How long a study will take, and how much memory it needs."""
