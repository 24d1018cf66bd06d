"""PEFT's name for a network's task, which determines how PEFT wraps the network.

The wrapper for a task knows where the head is, before which inputs virtual tokens go, and how to
generate; a network without such a task gets the plain wrapper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peft import TaskType
    from torch import nn

# Endings of the names of transformers' classes with a head, and PEFT's name for the task.
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
    """Return PEFT's name for the network's task, from its class; None if there is none."""
    from peft import TaskType

    name = _name_of(network)
    return None if name is None else TaskType[name]


def writes(network: nn.Module) -> bool:
    """Return whether the head generates text; it is then pretrained, and may share embeddings."""
    return _name_of(network) in ("CAUSAL_LM", "SEQ_2_SEQ_LM")


def _name_of(network: nn.Module) -> str | None:
    for base in type(network).__mro__:
        for end, name in _ENDS.items():
            if base.__name__.endswith(end):
                return name
    return None
