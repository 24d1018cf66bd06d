"""The random numbers of one run among others in a process: each continues its own stream.

A run alone seeds torch's default generator before each step, and its dropout draws from that. Among
others it takes the generator's state along: it is set while the run draws, and kept until the next
time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from lightning_modules.seed import seed_device


class Draws:
    """A run's stream of random numbers.

    Attributes:
        state: Where in the stream the run is.

    """

    def __init__(self) -> None:
        self._device = torch.device("cpu")
        self.state = torch.get_rng_state()

    def seed(self, device: torch.device, seed: int) -> None:
        """Start the stream again."""
        self._device = device
        before = _state_of(device)
        seed_device(device, seed)
        self.state = _state_of(device)
        _set_state(device, before)

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Let torch draw from this stream inside the block."""
        before = _state_of(self._device)
        _set_state(self._device, self.state)
        try:
            yield
        finally:
            self.state = _state_of(self._device)
            _set_state(self._device, before)


def _state_of(device: torch.device) -> Tensor:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else torch.get_rng_state()


def _set_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    elif device.type == "mps":
        torch.mps.set_rng_state(state)
    else:
        torch.set_rng_state(state)
