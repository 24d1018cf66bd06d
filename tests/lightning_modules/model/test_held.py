"""Weights held in bf16 compute what the same weights in fp32 do, in every kind of architecture."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn
from transformers.pytorch_utils import Conv1D

from lightning_modules.error import ConfigError
from lightning_modules.model.attention import Attention
from lightning_modules.model.dtype import Dtype
from lightning_modules.model.held import HeldConv1D, HeldLinear, in_fp32
from lightning_modules.model.hub import Hub

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 300,
}
DECODER = {**SIZES, "num_key_value_heads": 2, "head_dim": 8}
T5 = {"d_model": 32, "d_ff": 64, "d_kv": 8, "num_layers": 2, "num_heads": 4, "vocab_size": 300}
BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "vocab_size": 300,
}
CLASSIFIES, WRITES, TRANSLATES = (
    "AutoModelForSequenceClassification",
    "AutoModelForCausalLM",
    "AutoModelForSeq2SeqLM",
)
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
ARCHITECTURES: dict[str, tuple[Any, str, str]] = {
    "bert": (transformers.BertConfig(**SIZES), "AutoModelForMaskedLM", CLASSIFIES),
    "roberta": (transformers.RobertaConfig(**SIZES), "AutoModelForMaskedLM", CLASSIFIES),
    "modernbert": (
        transformers.ModernBertConfig(**SIZES, pad_token_id=0),
        "AutoModelForMaskedLM",
        CLASSIFIES,
    ),
    "deberta": (
        transformers.DebertaV2Config(
            **SIZES, relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=8
        ),
        "AutoModelForMaskedLM",
        CLASSIFIES,
    ),
    "gpt2": (
        transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=300),
        WRITES,
        WRITES,
    ),
    "llama": (transformers.LlamaConfig(**DECODER), WRITES, WRITES),
    "qwen3": (transformers.Qwen3Config(**DECODER, tie_word_embeddings=True), WRITES, WRITES),
    "qwen3_moe": (transformers.Qwen3MoeConfig(**DECODER, **EXPERTS), WRITES, WRITES),
    "gemma3": (transformers.Gemma3TextConfig(**DECODER, pad_token_id=0), WRITES, WRITES),
    "t5": (transformers.T5Config(**T5, decoder_start_token_id=0), TRANSLATES, TRANSLATES),
    "bart": (transformers.BartConfig(**BART), TRANSLATES, TRANSLATES),
}
# These round what passes between some layers to the dtype of a weight: the embeddings times a
# factor, the inner activations, and the inputs of experts (transformers computes them in the dtype
# of their weights, also under autocast).
ROUNDS = {"gemma3", "t5", "qwen3_moe"}


@pytest.fixture(params=ARCHITECTURES)
def pair(request: pytest.FixtureRequest, here: Path) -> tuple[str, Any, Any]:
    """Return an architecture's name, and its network loaded in fp32 and held in bf16."""
    name: str = request.param
    config, saved, loaded = ARCHITECTURES[name]
    torch.manual_seed(0)
    network = getattr(transformers, saved).from_config(config, dtype=torch.float32)
    network.to(torch.bfloat16).save_pretrained(here / name)
    networks = []
    for dtype in (Dtype.fp32, Dtype.bf16):
        attention = Attention.eager if name == "deberta" else Attention.sdpa
        model = Hub(path=str(here / name), revision=None, attention=attention, dtype=dtype)
        torch.manual_seed(1)
        networks.append(model.load_network(loaded, pad_token_id=0).eval())
    return name, *networks


def logits(network: Any, *, mixed: bool) -> torch.Tensor:
    ids = torch.randint(5, 200, (3, 9), generator=torch.Generator().manual_seed(0))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if network.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        output: torch.Tensor = network(**inputs).logits
    return output


@pytest.mark.parametrize("mixed", [True, False], ids=["bf16", "fp32"])
def test_the_outputs_equal_those_of_the_weights_in_fp32(
    pair: tuple[str, Any, Any], mixed: bool
) -> None:
    name, whole, held = pair
    if name == "qwen3_moe" and not mixed:
        pytest.skip("refused, see below")
    expected, found = logits(whole, mixed=mixed), logits(held, mixed=mixed)
    assert found.dtype == expected.dtype
    if name in ROUNDS:
        assert torch.allclose(found.float(), expected.float(), atol=0.05)
    elif mixed:
        assert torch.equal(found, expected)
    else:
        assert torch.allclose(found, expected, atol=1e-6)


def test_only_matrices_are_held(pair: tuple[str, Any, Any]) -> None:
    _, whole, held = pair
    for (path, full), (_, half) in zip(
        whole.named_parameters(), held.named_parameters(), strict=True
    ):
        assert torch.equal(full, half.float()), path  # drawn ones included
        low = half.dtype is torch.bfloat16
        assert low == (full.ndim > 1 and path not in held.drawn and not _is_router(path)), path
    sizes = [sum(p.nbytes for p in network.parameters()) for network in (whole, held)]
    assert sizes[1] < 0.6 * sizes[0]
    assert in_fp32(held) is held
    assert {parameter.dtype for parameter in held.parameters()} == {torch.float32}


def _is_router(path: str) -> bool:
    return path.endswith("mlp.gate.weight")


def test_experts_in_bf16_do_not_compute_in_fp32(here: Path) -> None:
    ARCHITECTURES["qwen3_moe"][0].save_pretrained(here)
    model = Hub(path=str(here), revision=None, attention=Attention.sdpa, dtype=Dtype.bf16)
    assert model.settled(computes_bf16=True) is model
    with pytest.raises(ConfigError, match=r"model\.dtype: must be auto or fp32 for a mixture"):
        model.settled(computes_bf16=False)


@pytest.mark.parametrize("layer", [nn.Linear(5, 3), Conv1D(3, 5)])
def test_the_gradients_are_those_of_a_layer_in_fp32(layer: Any) -> None:
    with torch.no_grad():
        layer.weight.copy_(layer.weight.bfloat16())
    held = copy.deepcopy(layer)
    held.weight.data = held.weight.data.bfloat16()
    held.__class__ = HeldLinear if type(layer) is nn.Linear else HeldConv1D
    inputs = [torch.arange(20.0).view(2, 2, 5).requires_grad_() for _ in range(2)]
    for each, given in zip((layer, held), inputs, strict=True):
        each.weight.requires_grad_(False)
        each(given).square().sum().backward()
    assert torch.allclose(inputs[0].grad, inputs[1].grad)  # type: ignore[arg-type]
    assert torch.allclose(layer.bias.grad, held.bias.grad)
    held.weight.requires_grad_(True)
    held(inputs[1]).sum().backward()
    assert held.weight.grad.dtype is torch.bfloat16


def test_a_frozen_matrix_is_not_kept_in_fp32_for_the_backward_pass() -> None:
    layer = HeldLinear(50, 50)
    layer.weight = nn.Parameter(layer.weight.bfloat16(), requires_grad=False)
    saved: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(torch.ones(2, 50, requires_grad=True)).sum()
    assert [tensor.dtype for tensor in saved] == [torch.bfloat16]
    assert saved[0].data_ptr() == layer.weight.data_ptr()
