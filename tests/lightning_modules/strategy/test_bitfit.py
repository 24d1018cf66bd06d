"""BitFit trains every bias and the head, on networks with biases."""

from __future__ import annotations

import pytest
import transformers

from lightning_modules.error import ConfigError
from lightning_modules.strategy.bitfit import Bitfit

BITFIT = Bitfit(lr=1e-3, lr_min=1e-4, lr_max=1e-2)
SMALL = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "vocab_size": 30}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "vocab_size": 30}


def test_biases_and_head_are_trained() -> None:
    config = transformers.BertConfig(**SMALL, intermediate_size=32)
    network = BITFIT.adapt(transformers.BertForSequenceClassification(config))
    for name, parameter in network.named_parameters():
        is_trained = name.startswith("classifier.") or name.endswith(".bias")
        assert parameter.requires_grad == is_trained, name


@pytest.mark.parametrize(("name", "values"), [("llama", SMALL), ("t5", T5)])
def test_a_network_without_biases_is_refused(name: str, values: dict[str, int]) -> None:
    config = transformers.CONFIG_MAPPING[name](**values)
    network = transformers.AutoModelForSequenceClassification.from_config(config)
    with pytest.raises(ConfigError) as raised:
        BITFIT.adapt(network)
    kind = type(network).__name__
    assert str(raised.value) == (
        f"model: must have biases, got {kind}, which has none. Set strategy=lora or strategy=ia3."
    )
