"""The peak memory of a run."""

from __future__ import annotations

from typing import Any

import psutil
import torch

from lightning_modules.machine.hardware import Device
from lightning_modules.machine.lightning import pl


class PeakMemory(pl.Callback):
    """Measures the peak memory from when it is made.

    On CUDA, `num_bytes` is the exact peak of memory held by tensors. Elsewhere it is the most RAM
    of the process, interpreter and libraries included, at two kinds of moments: between forward
    and backward pass, where a step holds most, and after each validation batch. The system's own
    peak counter cannot be reset, and a worker trains many runs in one process.
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
        self.sample()
        return self._most

    def sample(self) -> None:
        """Measure the peak so far, or what the process holds now."""
        self._sample_process()
        if self._is_cuda:
            self._most = max(self._most, int(torch.cuda.max_memory_allocated()))

    def _sample_process(self) -> None:
        if not self._is_cuda:
            self._most = max(self._most, int(self._process.memory_info().rss))

    def on_train_start(self, trainer: pl.Trainer, tuner: Any) -> None:
        self.sample()  # a probe of the memory then resets the device's counter
        tuner.before_backward = self._sample_process

    def on_validation_batch_end(self, *_: Any) -> None:
        self._sample_process()
