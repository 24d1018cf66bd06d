"""The frozen part of each architecture, run apart, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import nn

from lightning_modules.model.flops import flops_of
from lightning_modules.model.stem import LayersStem, layers_stem
from lightning_modules.strategy.freeze import Freeze

SMALL = {"num_hidden_layers": 3, "hidden_size": 16, "num_attention_heads": 2, "vocab_size": 30}
LLAMA = {**SMALL, "intermediate_size": 32, "num_key_value_heads": 1, "pad_token_id": 0}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 3, "num_heads": 2, "vocab_size": 30}
PARTED: dict[str, dict[str, Any]] = {
    "bert": SMALL,
    "distilbert": {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 32, "vocab_size": 30},
    "deberta-v2": {**SMALL, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "gpt2": {"n_embd": 16, "n_layer": 3, "n_head": 2, "vocab_size": 30, "pad_token_id": 0},
    "llama": LLAMA,
    "qwen3": {**LLAMA, "head_dim": 8},
}


def adapted(name: str, values: dict[str, Any], num_layers: int) -> Any:
    torch.manual_seed(0)
    config = transformers.CONFIG_MAPPING[name](**values)
    network = transformers.AutoModelForSequenceClassification.from_config(config)
    return Freeze(lr=1e-4, lr_min=1e-5, lr_max=1e-3, num_layers=num_layers).adapt(network)


def started(network: nn.Module, num_layers: int) -> LayersStem:
    stem = layers_stem(network, num_layers)
    assert stem is not None
    found = stem.probe()
    assert found is not None
    stem.start(found)
    return stem


def batch() -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 30, (3, 7), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    ids[1, 4:], mask[1, 4:] = 0, 0
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("num_layers", [0, 1, 2])
@pytest.mark.parametrize("name", PARTED)
def test_the_rest_answers_and_learns_as_the_whole_network(name: str, num_layers: int) -> None:
    network = adapted(name, PARTED[name], num_layers)
    expected, gradients = passed(network)
    stem = started(network, num_layers)
    with torch.no_grad():
        features = stem.read(**batch())
    assert features.shape == (3, 7, 16)
    logits, found = passed(network, features=features)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)
    assert found.keys() == gradients.keys()
    for key, gradient in gradients.items():
        torch.testing.assert_close(found[key], gradient, rtol=1e-4, atol=1e-6)
    # Given inputs alone, it is the whole network again.
    torch.testing.assert_close(passed(network)[0], expected, rtol=0, atol=0)


def passed(network: Any, **more: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the logits and the gradients, with dropout drawn from one seed."""
    network.train()
    network.zero_grad()
    torch.manual_seed(2)
    logits = network(**batch(), **more).logits
    logits.square().sum().backward()
    gradients = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    return logits.detach(), gradients


def test_layers_that_are_not_run_take_no_operations() -> None:
    network = adapted("bert", SMALL, 1)
    before = flops_of(network)
    started(network, 1)
    after = flops_of(network)
    assert before is not None and after is not None
    layer = sum(p.numel() for p in network.bert.encoder.layer[0].parameters() if p.ndim > 1)
    assert before.per_token - after.per_token == 2 * 2 * layer


def test_a_frozen_part_is_not_run_while_its_features_are_given() -> None:
    network = adapted("bert", SMALL, 1)
    stem = started(network, 1)
    with torch.no_grad():
        features = stem.read(**batch())
        layers = network.bert.encoder.layer
        for layer in layers[:2]:
            for parameter in layer.parameters():
                parameter.fill_(float("nan"))
        assert network(**batch(), features=features).logits.isfinite().all()


@pytest.mark.parametrize(("name", "values"), [("t5", T5)])
def test_two_lists_of_layers_have_no_part_below_all_that_is_trained(
    name: str, values: dict[str, Any]
) -> None:
    assert layers_stem(adapted(name, values, 1), 1) is None


def test_what_is_trained_below_is_noticed() -> None:
    network = adapted("bert", SMALL, 1)
    network.bert.embeddings.LayerNorm.weight.requires_grad_(True)
    stem = layers_stem(network, 1)
    assert stem is not None
    assert stem.probe() is None


@pytest.mark.parametrize(("num_layers", "has_use"), [(0, True), (1, False)])
def test_modernbert_trains_a_norm_of_its_embeddings(num_layers: int, has_use: bool) -> None:
    values = {**SMALL, "intermediate_size": 32, "pad_token_id": 0}
    stem = layers_stem(adapted("modernbert", values, num_layers), num_layers)
    assert stem is not None
    assert (stem.probe() is not None) == has_use


def test_dropout_below_is_noticed() -> None:
    network = adapted("bert", SMALL, 1)
    network.bert.embeddings.dropout.p = 0.5
    stem = layers_stem(network, 1)
    assert stem is not None
    assert stem.probe() is None


def test_the_content_tells_weights_and_settings_apart() -> None:
    stems = [layers_stem(adapted("bert", SMALL, 1), 1) for _ in range(2)]
    one, other = (stem for stem in stems if stem is not None)
    assert one.content() == other.content()
    with torch.no_grad():
        other.network.get_parameter("bert.embeddings.word_embeddings.weight")[3, 3] += 1e-3
    assert one.content() != other.content()
    third = layers_stem(adapted("bert", {**SMALL, "layer_norm_eps": 1e-3}, 1), 1)
    assert third is not None
    assert one.content() != third.content()


def test_the_content_tells_code_apart_that_comes_with_a_model() -> None:
    stems = [layers_stem(adapted("bert", SMALL, 1), 1) for _ in range(2)]
    one, other = (stem for stem in stems if stem is not None)
    layer = other.network.bert.encoder.layer[0]
    # transformers imports such code under the name of its revision.
    kind = type(layer)
    layer.__class__ = type(kind.__name__, (kind,), {"__module__": "transformers_modules.a.b1"})
    assert one.content() != other.content()
