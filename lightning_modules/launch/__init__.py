"""The processes that train a run's other devices."""
