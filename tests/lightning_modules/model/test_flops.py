"""The operations of a step equal those that torch counts, apart from attention itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    BertConfig,
    LlamaConfig,
    MixtralConfig,
    T5Config,
)

from lightning_modules.model.flops import flops_of

NUM_TOKENS = 24
LLAMA = LlamaConfig(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=100,
    attn_implementation="eager",
)


def counted(network: Any) -> float:
    """Return the operations of a step per token, without attention's own products."""
    ids = torch.arange(NUM_TOKENS)[None] % 100
    with FlopCounterMode(display=False) as counter:
        network(input_ids=ids).logits.float().logsumexp(-1).sum().backward()
    found = counter.get_flop_counts()["Global"]
    num_flops = sum(n for op, n in found.items() if "bmm" not in str(op))
    return num_flops / NUM_TOKENS


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("trained", ["all", "adapters", "last layer", "output layer"])
def test_a_decoder_takes_what_torch_counts(trained: str, tied: bool) -> None:
    LLAMA.tie_word_embeddings = tied
    network: Any = AutoModelForCausalLM.from_config(LLAMA, attn_implementation="eager")
    if trained != "all":
        network.requires_grad_(False)
    if trained == "last layer":
        network.model.layers[-1].requires_grad_(True)
    if trained == "output layer":
        network.lm_head.requires_grad_(True)
    if trained == "adapters":
        from peft import LoraConfig, get_peft_model

        adapters = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
        network = get_peft_model(network, adapters)
    flops = flops_of(network)
    assert flops is not None
    found = flops.per_token + flops.per_target
    # The layers that read what the first trained one reads need no gradient of it either.
    assert found == pytest.approx(counted(network), rel=0.08)


def test_a_fully_trained_network_takes_six_operations_per_value() -> None:
    LLAMA.tie_word_embeddings = False
    network = AutoModelForCausalLM.from_config(LLAMA)
    flops = flops_of(network)
    assert flops is not None
    num_output = 32 * 100
    num_matrices = 3 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64)
    assert flops.per_target == 6 * num_output
    assert flops.per_token == 6 * num_matrices


def test_a_trained_head_on_a_frozen_encoder_takes_two_and_four() -> None:
    config = BertConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        vocab_size=100,
        num_labels=3,
    )
    network: Any = AutoModelForSequenceClassification.from_config(config)
    network.requires_grad_(False)
    network.classifier.requires_grad_(True)
    flops = flops_of(network)
    assert flops is not None
    encoder = 2 * (4 * 32 * 32 + 2 * 32 * 64) + 32 * 32
    assert flops.per_token == 2 * encoder + 4 * 3 * 32 and flops.per_target == 0


def test_virtual_tokens_need_the_gradient_of_every_layer() -> None:
    from peft import PromptTuningConfig, get_peft_model

    LLAMA.tie_word_embeddings = False
    plain = AutoModelForCausalLM.from_config(LLAMA)
    num_values = sum(p.numel() for p in plain.model.layers.parameters() if p.ndim > 1)
    network = get_peft_model(plain, PromptTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM"))
    flops = flops_of(network)
    assert flops is not None
    assert flops.per_token == 4 * num_values
    assert flops.per_target == 4 * 32 * 100


@pytest.mark.parametrize("kind", ["experts", "encoder-decoder"])
def test_where_tokens_do_not_share_all_matrices_it_is_unknown(kind: str) -> None:
    if kind == "experts":
        small = {**LLAMA.to_dict(), "num_local_experts": 4, "num_experts_per_tok": 2}
        small.pop("model_type")
        network = AutoModelForCausalLM.from_config(MixtralConfig(**small))
    else:
        t5 = T5Config(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, vocab_size=100)
        network = AutoModelForSeq2SeqLM.from_config(t5)
    assert flops_of(network) is None
