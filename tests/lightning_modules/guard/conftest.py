"""Runs and guards for the tests in this folder."""

from __future__ import annotations

from pathlib import Path

from lightning_modules.guard.base import Guard
from lightning_modules.run import Run
from search.config import build_guards, build_run, compose
from tests.conftest import write_jsonl

DECODER = ("model=tiny", "model.kind=decoder", "task=generation", "task.num_generated=0")
FP32 = ("logger=none", "trainer.precision=fp32", "data.batch_size=16")


def run_of(*words: str) -> Run:
    return build_run(compose("train", [*FP32, *words]).tree)


def guard_of(entry: str) -> Guard:
    """Return the guard that an entry of `search.guards` stands for."""
    words = [f"search.guards=[{entry}]", "search.plugins=[lm_eval]"]
    (guard,) = build_guards(compose("sweep", words).tree)
    return guard


def write_texts(here: Path, num: int = 24) -> Path:
    """Write a file of short texts without answers."""
    rows = [{"text": f"The {w} hotel was great and awful."} for w in ("old", "new", "big") * num]
    return write_jsonl(here / "texts.jsonl", rows[:num])
