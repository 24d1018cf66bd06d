"""The size of a network, from its config.json, against the network that transformers builds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from lightning_modules.model.pair import PAIR
from lightning_modules.model.size import size_of

CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("BertConfig", "AutoModel", {}),
    ("DistilBertConfig", "AutoModel", {}),
    ("ModernBertConfig", "AutoModel", {}),
    ("GPT2Config", "AutoModelForCausalLM", {}),
    (
        "LlamaConfig",  # of Llama 3.1 8B, with a tenth of its layers
        "AutoModelForCausalLM",
        {
            "hidden_size": 4096,
            "num_hidden_layers": 3,
            "intermediate_size": 14336,
            "num_key_value_heads": 8,
            "vocab_size": 128256,
        },
    ),
    ("Gemma3TextConfig", "AutoModelForCausalLM", {"num_hidden_layers": 3}),
    ("T5Config", "AutoModelForSeq2SeqLM", {}),
    ("BartConfig", "AutoModelForSeq2SeqLM", {"encoder_layers": 6, "decoder_layers": 6}),
    ("MixtralConfig", "AutoModelForCausalLM", {"num_hidden_layers": 2}),
    ("Qwen3MoeConfig", "AutoModelForCausalLM", {"num_hidden_layers": 2}),
]


@pytest.mark.parametrize(("name", "auto_class", "values"), CASES)
def test_size_is_close_to_the_networks(name: str, auto_class: str, values: dict[str, Any]) -> None:
    config = getattr(transformers, name)(**values)
    with torch.device("meta"):
        network = getattr(transformers, auto_class).from_config(config)
    size = size_of(config.to_dict())
    assert size is not None
    num_parameters = sum(each.numel() for each in network.parameters())
    assert size.parameters == pytest.approx(num_parameters, rel=0.03)
    assert size.experts == ("moe" in config.model_type or config.model_type == "mixtral")


def test_a_pair_has_the_size_of_both_halves() -> None:
    bert = transformers.BertConfig().to_dict()
    half, pair = size_of(bert), size_of({"model_type": PAIR, "encoder": bert, "decoder": bert})
    assert half is not None and pair is not None
    assert (pair.parameters, pair.ends) == (2 * half.parameters, 2 * half.ends)
    assert size_of({"model_type": PAIR, "encoder": bert, "decoder": {}}) is None


@pytest.mark.parametrize("missing", ["hidden_size", "vocab_size", "num_hidden_layers"])
def test_a_config_that_does_not_say_it_has_no_size(missing: str) -> None:
    bert = transformers.BertConfig().to_dict()
    assert size_of({key: value for key, value in bert.items() if key != missing}) is None


def test_the_text_part_counts_in_a_config_of_several() -> None:
    text = transformers.Gemma3TextConfig(num_hidden_layers=3).to_dict()
    assert size_of({"model_type": "gemma3", "text_config": text}) == size_of(text)
