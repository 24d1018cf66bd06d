"""The command line: `finesweep COMMAND [key=value ...]`."""

from search.cli.main import main

__all__ = ["main"]
