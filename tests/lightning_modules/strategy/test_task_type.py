from __future__ import annotations

import pytest

from lightning_modules.model.kind import Kind
from lightning_modules.model.tiny import Tiny
from lightning_modules.strategy.task_type import task_type_of


@pytest.mark.parametrize(
    ("kind", "auto_class", "expected"),
    [
        (Kind.encoder, "AutoModelForSequenceClassification", "SEQ_CLS"),
        (Kind.encoder, "AutoModelForTokenClassification", "TOKEN_CLS"),
        (Kind.encoder, "AutoModelForQuestionAnswering", "QUESTION_ANS"),
        (Kind.encoder, "AutoModel", "FEATURE_EXTRACTION"),
        (Kind.decoder, "AutoModelForTokenClassification", "TOKEN_CLS"),
        (Kind.decoder, "AutoModelForCausalLM", "CAUSAL_LM"),
        (Kind.encoder_decoder, "AutoModelForSeq2SeqLM", "SEQ_2_SEQ_LM"),
        (Kind.encoder_decoder, "AutoModelForSequenceClassification", "SEQ_CLS"),
    ],
)
def test_the_type_is_that_of_the_networks_head(kind: Kind, auto_class: str, expected: str) -> None:
    tiny = Tiny(kind=kind, width=8, num_layers=1, num_heads=1)
    assert task_type_of(tiny.load_network(auto_class)).name == expected


def test_two_models_in_one_write_from_one_sequence_to_another() -> None:
    from transformers import EncoderDecoderConfig, EncoderDecoderModel

    encoder = Tiny(kind=Kind.encoder, width=8, num_layers=1, num_heads=1)._architecture()
    config = EncoderDecoderConfig.from_encoder_decoder_configs(encoder, encoder)
    assert task_type_of(EncoderDecoderModel(config)).name == "SEQ_2_SEQ_LM"
