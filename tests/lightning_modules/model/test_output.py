"""The output layer of a network is found, with what the network does to its logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from lightning_modules.model.output import output_layer
from tests.lightning_modules.text.test_loss import decoder, writer

AFTER = {
    "llama": [],
    "gemma2": ["_capped"],
    "granite": ["_divided"],
    "cohere": ["_times"],
    "bart": ["_plus"],
    "t5": [],
}


@pytest.mark.parametrize("name", AFTER)
def test_an_architecture_has_what_its_paper_does_to_logits(name: str) -> None:
    network = writer(name) if name in ("bart", "t5") else decoder(name)
    found = output_layer(network)
    assert found is not None
    assert found.layer is network.get_output_embeddings()
    after: list[Any] = list(found.after)
    assert [step.func.__name__ for step in after] == AFTER[name]
    assert found.num_logits == 300
    hidden = 100 * torch.randn(2, 32)
    assert found(hidden).shape == (2, 300)


def test_a_network_without_an_output_layer_or_with_one_of_zeros_has_none() -> None:
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    assert output_layer(transformers.BertForSequenceClassification(config)) is None
    network = decoder("llama")
    torch.nn.init.zeros_(network.lm_head.weight)
    assert output_layer(network) is None  # a cap would not show


def test_the_hidden_states_are_those_of_the_pass() -> None:
    network = decoder("llama").eval()
    ids = torch.randint(5, 300, (2, 7))
    found = output_layer(network)
    assert found is not None
    with torch.inference_mode():
        hidden = found.hidden(network, {"input_ids": ids})
        torch.testing.assert_close(found(hidden), network(ids).logits)


def test_finding_the_output_layer_changes_neither_the_network_nor_the_random_numbers() -> None:
    network = decoder("gpt2").train()
    network.transformer.wte.eval()
    modes = [module.training for module in network.modules()]
    before = torch.get_rng_state()
    assert output_layer(network) is not None
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in network.modules()] == modes
