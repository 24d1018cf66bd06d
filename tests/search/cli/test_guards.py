"""Guards as a user meets them: a small decoder that knows a text is tuned on another one."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from lightning_modules.rows.embedded import NEUTRAL, REVIEWS
from tests.conftest import run_here

FP32 = ("logger=none", "trainer.precision=fp32", "task=generation", "task.num_generated=0")
FILES = ("data=files", "data.test_fraction=0", "data.max_length=64", "data.batch_size=8")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """Train a small decoder on the neutral text and export it; return the folder around it."""
    folder = tmp_path_factory.mktemp("base")
    before = Path.cwd()
    os.chdir(folder)
    try:
        (folder / "known.txt").write_text(NEUTRAL.read_text(encoding="utf-8"))
        texts = [json.loads(line)["text"] for line in REVIEWS.read_text("utf-8").splitlines()[:200]]
        lines = [json.dumps({"text": text}) + "\n" for text in texts]
        (folder / "new.jsonl").write_text("".join(lines))
        known = ("data.train=known.txt", "data.validation=known.txt", "trainer.epochs=40")
        scratch = ("model=tiny", "model.kind=decoder", "strategy=from_scratch", "strategy.lr=1e-2")
        bpe = ("strategy.tokenizer=bpe", "strategy.vocabulary_size=400")
        run_here("train", "run=base", *FP32, *FILES, *known, *scratch, *bpe)
        run_here("export", "run=base", "to=known")
    finally:
        os.chdir(before)
    return folder


@pytest.mark.thorough
def test_the_best_is_one_that_did_not_forget(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(base)
    words = (
        *("study=kept", "search.workers=0", "search/pruner=none", "search/space=none"),
        *(*FP32, *FILES, "model=hub", "model.path=known", "data.train=new.jsonl"),
        *("search/sampler=grid", "trainer.epochs=3", "schedule=constant"),
        *("strategy=choice(full,lora)", "optimizer.lr=choice(2e-2,1e-4)"),
        "search.guards=[forgetting]",
    )
    printed = run_here("plan", *words)
    assert "guard   forgetting: loss at most +5 %; 8 rows" in printed
    printed = run_here("sweep", *words)
    with Path("studies/kept/trials.csv").open() as file:
        rows = {(row["strategy"], float(row["optimizer.lr"])): row for row in csv.DictReader(file)}
    print(printed, rows)
    high, low = rows["full", 2e-2], rows["lora", 1e-4]
    assert high["breaks"] == "forgetting" and low["breaks"] == ""
    assert float(high["guard/forgetting"]) > float(low["guard/forgetting"])
    # Without the guard, the one that forgot would be the best.
    assert float(high["value"]) < float(low["value"])
    (best,) = [row for row in rows.values() if row["best"] == "True"]
    assert best["breaks"] == ""
    assert "forgetting" in printed and "cannot be the best" in printed
    (guard,) = json.loads(run_here("status", "study=kept", "--json"))["guards"]
    assert guard["best"] <= guard["limit"] == pytest.approx(1.05 * guard["untouched"])
    run_here("export", "study=kept", "to=best")
    assert "| guard forgetting | loss " in Path("best/README.md").read_text()
