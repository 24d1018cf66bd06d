"""One training, from a typed config to its outcome: `fit`."""

from lightning_modules.fit.training import fit

__all__ = ["fit"]
