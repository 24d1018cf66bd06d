"""Frozen heads, quickly: a held-out text is read once at each padded length, not at every scoring.

What a frozen backbone makes of a row depends on the row and on the length that its batch is padded
to, and on nothing else of the batch: `python benchmarks/record.py check` compares whole trainings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from transformers.modeling_outputs import SequenceClassifierOutput

from lightning_modules.model.pooled import PooledClassifier
from lightning_modules.strategy.feature_extraction import FeatureExtraction

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lightning_modules.run import Run


def quick(run: Run) -> Run:
    """Return the run in a quicker way to the same outcome, where there is one."""
    if not isinstance(run.strategy, FeatureExtraction):
        return run
    return replace(run, strategy=Remembered(**asdict(run.strategy)))


@dataclass(frozen=True, kw_only=True)
class Remembered(FeatureExtraction):
    """The product's feature extraction, with a network that remembers what it read."""

    memory: ClassVar[dict[bytes, np.ndarray]] = {}

    def adapt(self, network: nn.Module) -> nn.Module:
        assert isinstance(network, PooledClassifier)
        return super().adapt(Remembering(network, self.memory))


class Remembering(PooledClassifier):
    """The same logits, bit for bit, without reading a text twice at the same padded length."""

    def __init__(self, network: PooledClassifier, memory: dict[bytes, np.ndarray]) -> None:
        super().__init__(network.backbone, network.head.out_features)
        self.head = network.head
        self._memory = memory

    def forward(self, features: Tensor | None = None, **inputs: Any) -> Any:
        if features is not None:  # of the rows that it is trained on, which the product reads once
            return super().forward(features)
        rows = torch.stack(list(inputs.values()), dim=1).numpy().astype(np.int32)
        keys = [row.tobytes() for row in rows]  # a row's length in bytes tells the padded one
        unread = {key: row for row, key in enumerate(keys) if key not in self._memory}
        if unread:
            places = list(unread.values())
            features = self._features({name: each[places] for name, each in inputs.items()})
            self._memory.update(zip(unread, features, strict=True))
        features_BD = torch.from_numpy(np.stack([self._memory[key] for key in keys]))
        return SequenceClassifierOutput(logits=self.head(features_BD))

    def _features(self, inputs: Mapping[str, Tensor]) -> np.ndarray:
        """Return what the product's classifier hands to its head."""
        found: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda head, given: found.append(given[0]))
        super().forward(**inputs)
        hook.remove()
        features: np.ndarray = found[0].detach().numpy()
        return features
