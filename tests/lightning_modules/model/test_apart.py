from __future__ import annotations

from typing import Any

import peft
import pytest
import torch
import transformers

from lightning_modules.model.apart import keeps_apart
from tests.lightning_modules.task.test_generation import network_of


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen3", "gemma"])
def test_attention_keeps_documents_apart(kind: str, attention: str) -> None:
    assert keeps_apart(network_of(kind, attention))


def test_it_does_so_in_bf16() -> None:
    network = network_of("llama", "sdpa")
    with torch.autocast("cpu", torch.bfloat16):
        assert keeps_apart(network)
    assert keeps_apart(network.to(torch.bfloat16))


def of_config(config: Any) -> Any:
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize(
    "config",
    [
        transformers.MambaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, state_size=4),
        transformers.BloomConfig(vocab_size=50, hidden_size=16, n_layer=2, n_head=2),
        transformers.Lfm2Config(
            vocab_size=50,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            layer_types=["conv", "full_attention"],
        ),
    ],
    ids=["mamba", "bloom", "lfm2"],
)
def test_states_distances_and_convolutions_do_not(config: Any) -> None:
    assert not keeps_apart(of_config(config))


@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_virtual_tokens_do_not(method: str) -> None:
    make = {"prompt": peft.PromptTuningConfig, "prefix": peft.PrefixTuningConfig}[method]
    adapted = peft.get_peft_model(
        network_of("llama", "sdpa"), make(task_type="CAUSAL_LM", num_virtual_tokens=3)
    )
    assert not keeps_apart(adapted)


def test_an_adapter_does_and_training_goes_on() -> None:
    config = peft.LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear")
    adapted = peft.get_peft_model(network_of("llama", "sdpa"), config).train()
    assert keeps_apart(adapted)
    assert adapted.training
