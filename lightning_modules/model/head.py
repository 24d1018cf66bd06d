"""What PEFT calls the task of a network, which decides how it wraps the network.

PEFT's wrappers of a task know where its head is, which of its inputs virtual tokens come before,
and how it generates; a network of no such task gets the plain wrapper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peft import TaskType
    from torch import nn

# How the names of transformers' classes with a head end, and PEFT's name of the task.
_ENDS = {
    "ForSequenceClassification": "SEQ_CLS",
    "ForTokenClassification": "TOKEN_CLS",
    "ForQuestionAnswering": "QUESTION_ANS",
    "ForConditionalGeneration": "SEQ_2_SEQ_LM",
    "EncoderDecoderModel": "SEQ_2_SEQ_LM",
    "ForCausalLM": "CAUSAL_LM",
    "LMHeadModel": "CAUSAL_LM",
}


def task_type_of(network: nn.Module) -> TaskType | None:
    """Return PEFT's name of the network's task by the class of its head; None where it has none."""
    from peft import TaskType

    name = _name_of(network)
    return None if name is None else TaskType[name]


def writes(network: nn.Module) -> bool:
    """Say whether the network's head writes texts: it was pretrained, and may be the embeddings."""
    return _name_of(network) in ("CAUSAL_LM", "SEQ_2_SEQ_LM")


def _name_of(network: nn.Module) -> str | None:
    for made in type(network).__mro__:
        for end, name in _ENDS.items():
            if made.__name__.endswith(end):
                return name
    return None
