"""PEFT's name for a network's task, which determines how PEFT wraps the network.

The wrapper for a task knows where the head is, before which inputs virtual tokens go, and how to
generate; a network without such a task gets the plain wrapper.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peft import TaskType
    from torch import nn

_DECODER, _PAIR = "CAUSAL_LM", "SEQ_2_SEQ_LM"
# Endings of the names of transformers' classes with a head, and PEFT's name for the task.
_ENDS = {
    "ForSequenceClassification": "SEQ_CLS",
    "ForTokenClassification": "TOKEN_CLS",
    "ForQuestionAnswering": "QUESTION_ANS",
    "ForConditionalGeneration": _PAIR,
    "EncoderDecoderModel": _PAIR,
    "ForCausalLM": _DECODER,
    "LMHeadModel": _DECODER,
}


def task_type_of(network: nn.Module) -> TaskType | None:
    """Return PEFT's name for the network's task, from its class; None if there is none."""
    from peft import TaskType

    name = "FEATURE_EXTRACTION" if is_backbone(network) else _name_of(network)
    return None if name is None else TaskType[name]


def writes(network: nn.Module) -> bool:
    """Return whether the head generates text; it is then pretrained, and may share embeddings."""
    return _name_of(network) in (_DECODER, _PAIR)


def _reads_first(network: nn.Module) -> bool:
    """Return whether an encoder reads; a decoder with a vision tower has none for texts."""
    return bool(getattr(network.config, "is_encoder_decoder", False))


def _name_of(network: nn.Module) -> str | None:
    for base in type(network).__mro__:
        for end, name in _ENDS.items():
            if base.__name__.endswith(end):
                return _DECODER if name == _PAIR and not _reads_first(network) else name
    return None


def is_backbone(network: nn.Module) -> bool:
    """Return whether a network of transformers has no head: its class is one for `AutoModel`."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    return type(network).__name__ in _names(MODEL_MAPPING_NAMES.values())


def _names(classes: Iterable[str | Sequence[str]]) -> set[str]:
    """Return names that are given alone or several at a time."""
    each = ([names] if isinstance(names, str) else names for names in classes)
    return {name for names in each for name in names}
