"""What a study of a text-generating task prints."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from tests.conftest import run_here, write_jsonl

NOUNS = ("dog", "boat", "tree", "house")
WORDS = (
    "study=s",
    "experiment=smoke",
    "model.kind=encoder_decoder",
    "task=summarization",
    "task.max_new_tokens=4",
    "logger=none",
    "data=files",
    "data.train=rows.jsonl",
    "trainer.epochs=1",
    "trainer.validations_per_epoch=1",
    "optimizer.lr=1e-9",  # the random network generates the same text for every row
    "search/pruner=none",
    "search.num_trials=1",
    "search.workers=0",
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """Run one trial; the output is in the file `stdout`."""
    folder = tmp_path_factory.mktemp("study")
    rows = [
        {
            "document": f"A {one} {n}. It stands \x1b[31m there. {'Long. ' * 40}",
            "summary": f"A {one}.",
        }
        for n in range(20)
        for one in NOUNS
    ]
    write_jsonl(folder / "rows.jsonl", rows)
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.setenv("FINESWEEP_CACHE", str(cache))
        (folder / "stdout").write_text(run_here("sweep", *WORDS))
    return folder


@pytest.mark.thorough
def test_the_header_shows_the_baseline_and_no_labels(study: Path) -> None:
    text = (study / "stdout").read_text()
    assert "note    the first sentence would have rouge1 0." in text
    assert "rows (train / validation / test)\n" in text


@pytest.mark.thorough
def test_the_summary_shows_texts_of_the_winner(study: Path) -> None:
    text = (study / "stdout").read_text()
    records = [
        json.loads(line) for line in next(study.rglob("generated.jsonl")).read_text().splitlines()
    ]
    shown = text.partition("Sample outputs, from ")[2].split("\n\n")[:3]
    assert len(shown) == 3
    for block, record in zip(shown, records, strict=False):
        lines = dict(
            line.strip().split(": ", 1) for line in block.splitlines()[-4:] if ": " in line
        )
        assert lines["reference"] == record["reference"]
        assert lines["source"].startswith("A ") and lines["source"].endswith(" …")
        assert len(lines["source"]) <= 90
    assert "\x1b[31m" not in text


def test_the_summary_warns_if_all_texts_are_the_same(study: Path) -> None:
    lines = (study / "stdout").read_text().splitlines()
    assert any(line.startswith("It writes '") and "for every row" in line for line in lines)
