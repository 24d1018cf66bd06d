"""Words and summaries that are cut are said, with the lengths that would hold them."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import run_here
from tests.shared import SHARED, needs

CASE = SHARED / "cases" / "truncation-silent"
pytestmark = needs(CASE)


def test_cut_words_are_said(here: Path) -> None:
    words = ("model=tiny", "task=token_classification", "data=files", "data.max_length=16")
    printed = run_here("plan", "study=x", *words, f"data.train={CASE}/long.jsonl")
    assert (
        "\nnote    100% of texts are longer than data.max_length=16 and are cut: 98% of all words "
        "count as O; 802 holds 95%, 802 holds 99%\n"
    ) in printed


def test_cut_summaries_are_said(here: Path) -> None:
    words = ("model=tiny", "model.kind=encoder_decoder", "strategy=full", "task=summarization")
    words = (*words, "data=files", f"data.train={CASE}/s2slong.jsonl", "task.max_new_tokens=8")
    assert (
        "\nnote    100% of summaries are longer than task.max_new_tokens=8 and lose their end, "
        "which cannot be learnt or written; 142 holds 95%, 142 holds 99%\n"
    ) in run_here("plan", "study=x", *words)
