"""AdamW with its two moments held in 8 bits, and otherwise as `optimizer=adamw`.

A moment's values are stored in blocks of 256: the largest magnitude of a block in float32, and a
byte per value that names one of 256 fractions of it, which are denser near 0. Each step decodes a
tensor's moments, updates them and the weights in float32, and encodes them again. Tensors of less
than 4,096 values, e.g. biases and norms, keep float32.

Paper: Dettmers et al. 2022, arXiv:2110.02861 (block-wise dynamic quantization).
Cost: about 2 bytes of state per trained value instead of 8. On a GPU, bitsandbytes waits for the
device after each tensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.optimizer.adamw import DecoupledDecay

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer as TorchOptimizer

BLOCK, BLOCK_BYTES = 256, 4
"""Values of a block, and the bytes of its largest magnitude."""


@dataclass(frozen=True, kw_only=True)
class Adamw8bit(DecoupledDecay):
    """AdamW with moments in 8 bits; needs bitsandbytes."""

    def check(self) -> None:
        if find_spec("bitsandbytes") is None:
            rule, got = "optimizer=adamw_8bit needs bitsandbytes", Verbatim("no such package")
            fix = "Run pip install bitsandbytes, or set optimizer=adamw."
            raise ConfigError(Problem("optimizer", rule, got, fix))

    def state_bytes(self, value_bytes: float) -> float:
        return 2 * (1 + BLOCK_BYTES / BLOCK)

    def build(self, network: nn.Module) -> TorchOptimizer:
        from bitsandbytes.optim import AdamW8bit

        optimizer: TorchOptimizer = AdamW8bit(
            self.groups(network), lr=self.lr, betas=(self.beta1, self.beta2), eps=self.eps
        )
        return optimizer
