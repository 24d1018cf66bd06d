"""A process that trains trials."""
