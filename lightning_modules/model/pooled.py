"""A linear classifier on the mean-pooled output of a backbone.

In an encoder-decoder that is the encoder's output; nothing is written.

Shapes: B batch, T tokens, L layers, D width, C classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from lightning_modules.model.stem import Stem


class PooledClassifier(nn.Module):
    """logits_BC = head(mean over the unpadded T of the backbone's last hidden state)."""

    def __init__(self, backbone: PreTrainedModel, num_labels: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.config.hidden_size, num_labels)

    def forward(self, features: Tensor | None = None, **inputs: Any) -> SequenceClassifierOutput:
        """Return the logits of texts, or of texts whose `pooled` outputs are given."""
        features_BD = self.pooled(**inputs) if features is None else features
        logits: Any = self.head(features_BD)
        assert isinstance(logits, torch.Tensor)
        return SequenceClassifierOutput(logits=logits)

    def pooled(self, attention_mask: Tensor, **inputs: Any) -> Tensor:
        """Return the mean of the backbone's last hidden state over each text's tokens, (B, D)."""
        reader = reading_part(self.backbone)
        hidden_BTD: Tensor = reader(attention_mask=attention_mask, **inputs).last_hidden_state
        return _mean(hidden_BTD, attention_mask)

    def pooled_layers(self, num_layers: int, attention_mask: Tensor, **inputs: Any) -> Tensor:
        """Return the same of the last layers, (B, L, D), the last one first.

        Args:
            num_layers: How many; a network with fewer, or that shows only its last, has fewer.
            attention_mask: 1 for tokens that are not padding, (B, T).
            inputs: The backbone's other inputs.

        """
        reader = reading_part(self.backbone)
        found = reader(attention_mask=attention_mask, output_hidden_states=True, **inputs)
        layers = (found.hidden_states or (found.last_hidden_state,))[-num_layers:]
        return torch.stack([_mean(each, attention_mask) for each in reversed(layers)], dim=1)


def _mean(hidden_BTD: Tensor, attention_mask: Tensor) -> Tensor:
    mask_BT1 = attention_mask.unsqueeze(-1).to(hidden_BTD.dtype)
    return (hidden_BTD * mask_BT1).sum(dim=1) / mask_BT1.sum(dim=1)


class PooledStem(Stem):
    """The backbone of a `PooledClassifier`."""

    per_token = False

    def __init__(self, network: PooledClassifier) -> None:
        super().__init__(network, "pooled")
        self._backbone = network.backbone
        self._read = network.pooled

    @property
    def config(self) -> Any:
        return self._backbone.config

    def read(self, **inputs: Tensor) -> Tensor:
        return self._read(**inputs).float()


def reading_part(backbone: PreTrainedModel) -> Any:
    """Return the encoder of an encoder-decoder, or any other backbone unchanged."""
    return backbone.get_encoder() if backbone.config.is_encoder_decoder else backbone
