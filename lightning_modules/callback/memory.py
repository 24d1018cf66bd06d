"""How much memory a run takes at its peak."""

from __future__ import annotations

from typing import Any

import psutil
import pytorch_lightning as pl
import torch

from lightning_modules.machine.hardware import Device


class PeakMemory(pl.Callback):
    """Measures from its making on.

    `num_bytes` is on CUDA the most that tensors took at any instant. Elsewhere it is the most
    that the process held in RAM, interpreter and libraries included, of the instants between
    forward and backward pass, where a step holds most, and after each validation batch: the
    system's own peak cannot be set back, and a worker trains one run after the other.
    """

    def __init__(self, device: Device) -> None:
        self._is_cuda = device is Device.cuda
        self._process = psutil.Process()
        self._most = 0
        if self._is_cuda:
            torch.cuda.reset_peak_memory_stats()
        self.sample()

    @property
    def num_bytes(self) -> int:
        if self._is_cuda:
            return int(torch.cuda.max_memory_allocated())
        return self._most

    def sample(self) -> None:
        """Look at what the process holds now."""
        if not self._is_cuda:
            self._most = max(self._most, int(self._process.memory_info().rss))

    def on_before_backward(self, trainer: pl.Trainer, tuner: Any, loss: Any) -> None:
        self.sample()

    def on_validation_batch_end(self, *_: Any) -> None:
        self.sample()
