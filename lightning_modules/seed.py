"""Random numbers that belong to a trial, never to the process.

Every draw is a function of (the run's seed, what it is for, a counter), so a resumed run
draws what the uninterrupted one would have drawn, and no run can disturb another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def seed_of(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed for one purpose, the same on every machine.

    >>> seed_of(0, "order", 3) == seed_of(0, "order", 3) != seed_of(0, "order", 4)
    True
    """
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@contextmanager
def seeded(seed: int, *names: str | int) -> Iterator[None]:
    """Draw torch's random numbers inside from `seed_of(...)`; outside nothing has changed."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed_of(seed, *names))
        yield


def seed_device(device: torch.device, seed: int) -> None:
    """Draw torch's random numbers of the processor and of `device` from `seed` from here on.

    They are those that `torch.manual_seed` would have drawn. That one seeds every device there
    could be, and writes down the whole stack of its caller for those that are not there, which a
    small network's step feels.
    """
    import torch

    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
