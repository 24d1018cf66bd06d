"""Search for the best way to fine-tune: configuration, studies, workers, results, commands."""
