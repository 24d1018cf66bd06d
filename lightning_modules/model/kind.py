"""The kind of a model, which determines the tasks that it can learn."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from lightning_modules.model.multimodal import wraps_decoder

_WRITES = ("ForCausalLM", "LMHeadModel", "BertGenerationDecoder", "ReformerModelWithLMHead")


class Kind(Enum):
    """How a model reads and writes."""

    encoder = "encoder"
    """Reads a whole text at once, like BERT."""
    decoder = "decoder"
    """Writes a text from left to right, like GPT."""
    encoder_decoder = "encoder_decoder"
    """Reads one text and writes another, like T5."""


def kind_of(config: Mapping[str, Any]) -> Kind:
    """Return the kind of a model from its config.json.

    >>> kind_of({"architectures": ["GPT2LMHeadModel"]}).value
    'decoder'
    """
    if config.get("is_encoder_decoder"):
        return Kind.encoder_decoder
    names = config.get("architectures") or ()
    if any(name.endswith(_WRITES) for name in names) or wraps_decoder(config):
        return Kind.decoder
    return Kind.encoder
