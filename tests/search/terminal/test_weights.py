"""What a plan says of how weights are held."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from search.config import compose
from search.plan.build import build_plan
from search.terminal.weights import weights_lines

BILLION = {
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "max_position_embeddings": 4096,
}


def lines(here: Path, dtype: str, *words: str) -> list[str]:
    (here / "model").mkdir(exist_ok=True)
    (here / "model" / "config.json").write_text(json.dumps({**BILLION, "dtype": dtype}))
    model = ("model=hub", f"model.path={here / 'model'}", "logger=none")
    return weights_lines(build_plan(compose("sweep", [*model, *words])))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("strategy=lora",),
            "frozen weights in bf16 (about 2.5 GB) if the device computes in bf16, else in fp32 "
            "(about 4.9 GB); trained ones in fp32",
        ),
        (
            ("strategy=lora", "model.dtype=bf16"),
            "frozen weights in bf16 (about 2.5 GB), trained ones in fp32",
        ),
        (
            ("strategy=qlora",),
            "linear layers in 4 bits, other matrices in bf16 (about 1.0 GB in all); trained "
            "weights in fp32",
        ),
        (
            ("strategy=full",),
            "all weights in fp32 (about 19.8 GB) with gradients and two moments",
        ),
        (
            ("strategy=full", "model.dtype=bf16"),
            "all weights in bf16 (about 9.9 GB) with gradients and two moments; updates below "
            "1/256 of a weight are often lost",
        ),
        (
            ("strategy=prefix_tuning",),
            "all weights in fp32 (about 4.9 GB); this strategy needs that",
        ),
    ],
)
def test_the_plan_counts_the_bytes(here: Path, words: tuple[str, ...], line: str) -> None:
    assert lines(here, "bfloat16", *words) == [line]


def test_nothing_is_said_of_weights_that_are_held_as_in_the_file(here: Path) -> None:
    assert lines(here, "float32", "strategy=lora") == []
    assert lines(here, "bfloat16", "strategy=lora", "model.dtype=fp32") == []


def test_each_arm_has_its_line(here: Path) -> None:
    found = lines(here, "bfloat16", "strategy=choice(lora,full)")
    assert [line.partition(":")[0] for line in found] == ["lora", "full"]
