"""Which recorded lengths a study has, as the product decides it."""

from __future__ import annotations

from pathlib import Path

from search.config.prior_table import load_table
from search.plan.length import Length

CONF = Path(__file__).resolve().parents[2] / "conf"
BATCH_SIZE, LARGEST = 16, 32
"""The default batch size, and the largest of the default space."""
TOLERANCE = 1.2
"""How much longer than the product's longest a recorded run may be."""


def length_of(strategy: str, num_train: int) -> Length:
    """Return what a number of training rows means for the length of a strategy's runs."""
    steps = load_table([CONF]).steps
    return Length(num_train, BATCH_SIZE, LARGEST, steps.get(strategy, steps["others"]))


def is_in_space(strategy: str, num_train: int, epochs: int) -> bool:
    """Return whether the default space has runs of about this length."""
    length = length_of(strategy, num_train)
    return length.shortest <= epochs <= TOLERANCE * length.longest


def default_epochs(strategy: str, num_train: int, recorded: list[int]) -> int:
    """Return the recorded length that is nearest to the default's."""
    default = length_of(strategy, num_train).default
    return min(recorded, key=lambda epochs: (abs(epochs - default), epochs))
