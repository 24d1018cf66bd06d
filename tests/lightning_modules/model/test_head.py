"""PEFT's name for a network's task, for real networks with every head."""

from __future__ import annotations

import pytest
from peft import TaskType

from lightning_modules.model.head import task_type_of
from lightning_modules.model.kind import Kind
from lightning_modules.model.tiny import Tiny

CAUSAL, SEQ2SEQ = "AutoModelForCausalLM", "AutoModelForSeq2SeqLM"
TYPES = [
    (Kind.encoder, "AutoModelForSequenceClassification", TaskType.SEQ_CLS),
    (Kind.decoder, "AutoModelForSequenceClassification", TaskType.SEQ_CLS),
    (Kind.encoder_decoder, "AutoModelForSequenceClassification", TaskType.SEQ_CLS),
    (Kind.encoder, "AutoModelForTokenClassification", TaskType.TOKEN_CLS),
    (Kind.encoder, "AutoModelForQuestionAnswering", TaskType.QUESTION_ANS),
    (Kind.decoder, CAUSAL, TaskType.CAUSAL_LM),
    (Kind.encoder_decoder, SEQ2SEQ, TaskType.SEQ_2_SEQ_LM),
    (Kind.encoder, "AutoModel", TaskType.FEATURE_EXTRACTION),
]


@pytest.mark.parametrize(("kind", "auto_class", "expected"), TYPES)
def test_the_head_determines_the_task(kind: Kind, auto_class: str, expected: TaskType) -> None:
    tiny = Tiny(kind=kind, width=8, num_layers=1, num_heads=2)
    assert task_type_of(tiny.load_network(auto_class)) is expected


def test_a_pair_of_networks_is_a_sequence_to_sequence_model() -> None:
    from transformers import BertConfig, EncoderDecoderConfig, EncoderDecoderModel, LlamaConfig
    from transformers import LlamaForCausalLM as Llama

    small = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2}
    bert = BertConfig(**small, intermediate_size=8, vocab_size=20)
    joined = EncoderDecoderConfig.from_encoder_decoder_configs(bert, bert)
    assert task_type_of(EncoderDecoderModel(joined)) is TaskType.SEQ_2_SEQ_LM
    llama = Llama(LlamaConfig(**small, intermediate_size=8, vocab_size=20))
    assert task_type_of(llama) is TaskType.CAUSAL_LM
