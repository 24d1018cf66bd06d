"""A linear classifier on the mean-pooled output of a backbone.

In an encoder-decoder that is the encoder's output; nothing is written.

Shapes: B batch, T tokens, D width, C classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class PooledClassifier(nn.Module):
    """logits_BC = head(mean over the unpadded T of the backbone's last hidden state)."""

    def __init__(self, backbone: PreTrainedModel, num_labels: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.config.hidden_size, num_labels)

    def forward(self, attention_mask: Tensor, **inputs: Any) -> SequenceClassifierOutput:
        reader = reading_part(self.backbone)
        hidden_BTD = reader(attention_mask=attention_mask, **inputs).last_hidden_state
        mask_BT1 = attention_mask.unsqueeze(-1).to(hidden_BTD.dtype)
        features_BD = (hidden_BTD * mask_BT1).sum(dim=1) / mask_BT1.sum(dim=1)
        logits: Any = self.head(features_BD)
        assert isinstance(logits, torch.Tensor)
        return SequenceClassifierOutput(logits=logits)


def reading_part(backbone: PreTrainedModel) -> Any:
    """Return the encoder of an encoder-decoder, or any other backbone unchanged."""
    return backbone.get_encoder() if backbone.config.is_encoder_decoder else backbone
