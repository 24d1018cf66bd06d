"""Random numbers that depend on the trial, never on the process.

Every draw is a function of the run's seed, its purpose and a counter. So a resumed run draws
the same numbers as an uninterrupted one, and no run affects another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
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


def seeds_of(seed: int, *names: str | int) -> Callable[[str], int]:
    """Return a function from a text to `seed_of(seed, *names, text)`, for many texts.

    >>> seeds_of(0, "part")("a text") == seed_of(0, "part", "a text")
    True
    """
    start = hashlib.sha256("/".join(str(part) for part in (seed, *names, "")).encode())

    def of(text: str) -> int:
        digest = start.copy()
        digest.update(text.encode())
        return int.from_bytes(digest.digest()[:8], "big") >> 1

    return of


@contextmanager
def seeded(seed: int, *names: str | int) -> Iterator[None]:
    """Seed torch with `seed_of(...)` inside the block; restore its random state afterwards."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed_of(seed, *names))
        yield


def seed_device(device: torch.device, seed: int) -> None:
    """Seed torch's random numbers on the CPU and on `device`.

    They are the same as after `torch.manual_seed`, which also seeds every other kind of device,
    and records the caller's whole stack for those that are missing: a noticeable cost per step of
    a small network.
    """
    import torch

    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
