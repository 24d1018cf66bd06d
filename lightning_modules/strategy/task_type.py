"""What PEFT calls a network's task, which decides how its adapted network is called and saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peft import TaskType

_BY_ENDING: Mapping[str, str] = {
    "ForSequenceClassification": "SEQ_CLS",
    "ForTokenClassification": "TOKEN_CLS",
    "ForQuestionAnswering": "QUESTION_ANS",
    "ForCausalLM": "CAUSAL_LM",
    "LMHeadModel": "CAUSAL_LM",
    "ForConditionalGeneration": "SEQ_2_SEQ_LM",
}


def task_type_of(network: Any) -> TaskType:
    """Return PEFT's type for a network, by its class; a bare backbone extracts features."""
    from peft import TaskType

    name = type(network).__name__
    for ending, task_type in _BY_ENDING.items():
        if name.endswith(ending):
            return TaskType[task_type]
    # As MarianMTModel or EncoderDecoderModel.
    is_pair = getattr(network.config, "is_encoder_decoder", False)
    return TaskType.SEQ_2_SEQ_LM if is_pair else TaskType.FEATURE_EXTRACTION
