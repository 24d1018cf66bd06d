"""Start the processes of a run's other devices."""
