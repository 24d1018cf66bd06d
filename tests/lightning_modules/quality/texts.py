"""Sentences that differ from one another, and files of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from lightning_modules.run import Run
from search.config import build_run, compose

WORDS = tuple(
    "harbour kettle museum bicycle concert orchard lantern pepper violin garden window river "  # noqa: SIM905
    "letter mountain carpet engine basket ticket mirror shoulder candle forest pencil".split()
)


def sentences(number: int, seed: int = 0) -> list[str]:
    """Return sentences of twelve words drawn at random."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=12)) for _ in range(number)]


def run_of(*words: str) -> Run:
    """Return the run that the words compose."""
    return build_run(compose("train", words).tree)


def labelled(number: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return rows of two classes in turn."""
    texts = sentences(number, seed)
    return [{"text": text, "label": ("bad", "good")[n % 2]} for n, text in enumerate(texts)]


def split_words(names: Sequence[str]) -> tuple[str, ...]:
    """Return the words that name a JSONL file per split."""
    return "data=files", *(f"data.{name}={name}.jsonl" for name in names)
