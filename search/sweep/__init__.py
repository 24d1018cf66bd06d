"""What `finesweep sweep` does with a study: train it, confirm and certify its winner, report it."""
