"""Tasks: what the model predicts, the loss and the metrics."""
