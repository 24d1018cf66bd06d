"""The memory of a run from its configuration, against closed forms and a real small network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from lightning_modules.callback.checkpoint_file import state_of
from lightning_modules.model.size import size_of
from lightning_modules.model.state import num_bytes_of, trained_state
from lightning_modules.outcome import Record
from lightning_modules.run import Run
from search.config import build_run, compose
from search.estimate.need import need_of

LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 500,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "max_position_embeddings": 256,
}
LAYER = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 160
ENDS = 2 * (64 + 64) + 2 * (64 + 32) + 3 * (64 + 160)
EMBEDDINGS = 2 * 500 * 64
ALL = 4 * LAYER + EMBEDDINGS


def run_of(here: Path, *words: str, dtype: str = "bfloat16", **config: Any) -> Run:
    (here / "model").mkdir(exist_ok=True)
    (here / "model/config.json").write_text(json.dumps({**LLAMA, "dtype": dtype, **config}))
    model = ("model=hub", f"model.path={here / 'model'}", "logger=none", "task=generation")
    return build_run(compose("train", [*model, *words]).tree)


@pytest.mark.parametrize(
    ("words", "weights", "states", "trained", "checkpoint"),
    [
        # Values as (bytes per value, number): adapters with their gradient and two moments.
        (("strategy=lora", "strategy.rank=8"), 2 * ALL, 16 * 8, 4 * 8, 12 * 8),
        (("strategy=lora", "strategy.rank=8", "model.dtype=fp32"), 4 * ALL, 16 * 8, 4 * 8, 12 * 8),
        (("strategy=adalora", "strategy.initial_rank=12"), 2 * ALL, 16 * 12, 4 * 12, 12 * 12),
    ],
)
def test_adapters_take_their_rank_times_the_ends(
    here: Path, words: tuple[str, ...], weights: int, states: int, trained: int, checkpoint: int
) -> None:
    need = need_of(run_of(here, *words), computes_bf16=True)
    assert need is not None
    assert need.weights == weights
    per_rank = 4 * ENDS
    assert (need.states, need.trained, need.checkpoint) == (
        states * per_rank,
        trained * per_rank,
        checkpoint * per_rank,
    )


def test_moments_in_8_bits_take_two_bytes(here: Path) -> None:
    words = ("strategy=full", "optimizer=adamw_8bit")
    for dtype, value in (("auto", 4), ("bf16", 2)):
        need = need_of(run_of(here, *words, f"model.dtype={dtype}"), computes_bf16=False)
        assert need is not None
        # Of each block of 256 values, also the largest magnitude in fp32.
        state = 2 * (1 + 4 / 256)
        assert need.states == (value + state) * ALL
        assert need.checkpoint == (value + state) * ALL


@pytest.mark.parametrize(
    ("words", "weights", "states", "trained", "checkpoint"),
    [
        (("strategy=full",), 4, 12, 4, 12),
        (("strategy=full", "model.dtype=bf16"), 2, 6, 2, 6),
        (("strategy=from_scratch",), 4, 12, 4, 12),
    ],
)
def test_full_training_takes_bytes_per_parameter(
    here: Path, words: tuple[str, ...], weights: int, states: int, trained: int, checkpoint: int
) -> None:
    need = need_of(run_of(here, *words), computes_bf16=False)
    assert need is not None
    found = need.weights, need.states, need.trained, need.checkpoint
    assert found == tuple(each * ALL for each in (weights, states, trained, checkpoint))


def test_four_bits_count_for_linear_layers_and_two_bytes_for_embeddings(here: Path) -> None:
    need = need_of(run_of(here, "strategy=qlora"), computes_bf16=True)
    assert need is not None
    assert need.weights == pytest.approx(4.127 / 8 * 4 * LAYER + 2 * EMBEDDINGS)


def test_a_model_of_eight_billion_in_four_bits_takes_about_six_gigabytes(here: Path) -> None:
    shape = {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32}
    more = {"num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256}
    need = need_of(run_of(here, "strategy=qlora", **shape, **more), computes_bf16=True)
    assert need is not None
    assert need.weights == pytest.approx(5.7e9, rel=0.03)
    assert need.weights + need.states == pytest.approx(6.0e9, rel=0.05)


def test_frozen_features_keep_no_activations_but_those_of_a_layer(here: Path) -> None:
    words = ("task=classification", "strategy=feature_extraction")
    frozen = need_of(run_of(here, *words), computes_bf16=False)
    trained = need_of(run_of(here, "task=classification", "strategy=lora"), computes_bf16=False)
    assert frozen is not None and trained is not None
    assert frozen.token is not None and trained.token == 4 * frozen.token
    assert frozen.states == frozen.trained == 0


def test_autocast_keeps_a_copy_of_matrices_that_are_trained_in_fp32(here: Path) -> None:
    need = need_of(run_of(here, "strategy=full"), computes_bf16=True)
    assert need is not None
    assert need.states == 12 * ALL + 2 * (ALL - EMBEDDINGS)


def test_what_only_a_network_says_is_unknown(here: Path) -> None:
    run = run_of(here, "strategy=peft", "strategy.method=vera")
    assert need_of(run, computes_bf16=True) is None
    tiny = build_run(compose("train", ["model=tiny", "logger=none"]).tree)
    assert need_of(tiny, computes_bf16=True) is None


def test_experts_have_unknown_activations(here: Path) -> None:
    run = run_of(here, "strategy=full", num_local_experts=4, num_experts_per_tok=2)
    need = need_of(run, computes_bf16=True)
    assert need is not None and need.token is None


class Saved:
    """The bytes that a forward pass keeps for the backward pass besides parameters."""

    def __init__(self, network: torch.nn.Module) -> None:
        self._parameters = {p.untyped_storage().data_ptr() for p in network.parameters()}
        self._sizes: dict[int, int] = {}
        self._held: list[torch.Tensor] = []

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        place = tensor.untyped_storage()
        if place.data_ptr() not in self._parameters:
            self._held.append(tensor)  # so that no other takes its place
            self._sizes[place.data_ptr()] = place.nbytes()
        return tensor

    @property
    def num_bytes(self) -> int:
        return sum(self._sizes.values())


@pytest.mark.parametrize("strategy", ["full", "lora"])
def test_a_real_network_keeps_about_as_much(here: Path, strategy: str) -> None:
    """Trained values and a checkpoint's up to norms, activations within a fifth."""
    run = run_of(here, f"strategy={strategy}", "strategy.lr=1e-3", dtype="float32")
    config = transformers.LlamaConfig(**{k: v for k, v in LLAMA.items() if k != "model_type"})
    plain: Any = transformers.AutoModelForCausalLM.from_config(config)
    network: Any = run.strategy.adapt(plain)
    need, size = need_of(run, computes_bf16=False), size_of({**LLAMA})
    assert need is not None and size is not None and need.token is not None
    optimizer = run.optimizer.build(network)
    saved = Saved(network)
    ids = torch.arange(60).view(2, 30)
    with torch.autograd.graph.saved_tensors_hooks(saved.keep, lambda tensor: tensor):
        hidden = plain.model(input_ids=ids).last_hidden_state
    plain.lm_head(hidden).square().mean().backward()
    assert saved.num_bytes == pytest.approx(60 * need.token, rel=0.2)
    optimizer.step()
    state = state_of(Record(), trained_state(network), optimizer.state_dict(), None)
    assert num_bytes_of(state["network"]) == pytest.approx(need.trained, rel=0.02)
    assert num_bytes_of(state) == pytest.approx(need.checkpoint, rel=0.02)
