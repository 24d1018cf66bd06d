"""Freezing by layers, on backbones with different names for their lists of layers."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch import nn

from lightning_modules.error import ConfigError
from lightning_modules.model.part import new_parts, stacks_of
from lightning_modules.strategy.freeze import Freeze

SMALL = {"num_hidden_layers": 3, "hidden_size": 16, "num_attention_heads": 2, "vocab_size": 30}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 3, "num_heads": 2, "vocab_size": 30}
GPT2 = {"n_embd": 16, "n_layer": 3, "n_head": 2, "vocab_size": 30}
DISTILBERT = {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 32, "vocab_size": 30}
# Each architecture, the names of its lists of layers, and the modules after them.
KINDS = [
    ("bert", SMALL, ["bert.encoder.layer"], ["bert.pooler"]),
    ("distilbert", DISTILBERT, ["distilbert.transformer.layer"], []),
    ("gpt2", GPT2, ["transformer.h"], ["transformer.ln_f"]),
    ("llama", {**SMALL, "intermediate_size": 32}, ["model.layers"], ["model.norm"]),
    (
        "t5",
        T5,
        ["transformer.encoder.block", "transformer.decoder.block"],
        ["transformer.encoder.final_layer_norm", "transformer.decoder.final_layer_norm"],
    ),
]


def network_of(
    name: str, values: dict[str, int], auto: str = "SequenceClassification"
) -> nn.Module:
    config = transformers.CONFIG_MAPPING[name](**values)
    network: nn.Module = getattr(transformers, f"AutoModelFor{auto}").from_config(config)
    return network


def freeze(num_layers: int) -> Freeze:
    return Freeze(lr=1e-4, lr_min=1e-5, lr_max=1e-3, num_layers=num_layers)


@pytest.mark.parametrize(
    ("name", "values", "stacks", "finishes"), KINDS, ids=lambda value: str(value)[:9]
)
@pytest.mark.parametrize("num_layers", [0, 1, 3])
def test_top_layers_and_head_are_trained(
    name: str, values: dict[str, int], stacks: list[str], finishes: list[str], num_layers: int
) -> None:
    network = freeze(num_layers).adapt(network_of(name, values))
    places = [f"{stack}.{number}." for stack in stacks for number in range(3 - num_layers, 3)]
    places += [f"{finish}." for finish in finishes if num_layers]
    places += [f"{head}." for head in new_parts(network)]
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    assert trained == {n for n, _ in network.named_parameters() if n.startswith(tuple(places))}
    assert len(trained) >= len(places)


def test_only_trained_layers_keep_their_dropout() -> None:
    network = freeze(1).adapt(network_of("bert", SMALL))
    rates = [
        {module.p for module in layer.modules() if isinstance(module, nn.Dropout)}
        for (stack,) in [stacks_of(network)]
        for layer in stack
    ]
    assert rates == [{0.0}, {0.0}, {0.1}]


def test_frozen_layers_get_no_gradient() -> None:
    network = freeze(1).adapt(network_of("bert", SMALL))
    network(input_ids=torch.tensor([[1, 2, 3]])).logits.sum().backward()
    (stack,) = stacks_of(network)
    assert [any(p.grad is not None for p in layer.parameters()) for layer in stack] == [
        *(False, False, True)
    ]


@pytest.mark.parametrize(
    ("num_layers", "auto", "line"),
    [
        (4, "SequenceClassification", "num_layers: must be <= 3, the number of layers of GPT2F"),
        (0, "CausalLM", "num_layers: must be >= 1, because GPT2LMHeadModel has no new head to "),
    ],
)
def test_too_many_layers_or_nothing_to_train_are_refused(
    num_layers: int, auto: str, line: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        freeze(num_layers).adapt(network_of("gpt2", GPT2, auto))
    assert str(raised.value).startswith(f"strategy.{line}")


def test_a_negative_number_of_layers_is_refused() -> None:
    with pytest.raises(ConfigError, match="num_layers: must be >= 0, got -1"):
        freeze(-1)
