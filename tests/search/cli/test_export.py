"""Export of a run, as a model that can be trained further."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import finesweep
from tests.conftest import run_here, write_jsonl
from tests.search.cli.test_folders import write_bert
from tests.test_kept import KEPT

WORDS = ("model=tiny", "strategy=full", "logger=none", "trainer.epochs=1", "data=files")


@pytest.mark.thorough
def test_a_run_is_exported_scored_elsewhere_and_trained_further(
    learnable: Path, here: Path
) -> None:
    words = (*WORDS, f"data.train={learnable}", "trainer.precision=fp32", "strategy.lr=3e-3")
    run_here("train", "run=one", *words)
    run_here("export", "run=one", "to=one")
    assert "run one" in (here / "one/README.md").read_text()
    split = ("split=test", "--json")
    scores = json.loads(run_here("evaluate", "run=one", *split))
    data = ("data=files", f"data.train={learnable}")
    assert json.loads(run_here("evaluate", "model=one", *data, *split)) == scores
    further = ("model=hub", "model.path=./one", "strategy.lr=1e-9")
    run_here("train", "run=two", *words, *further)
    again = json.loads(run_here("evaluate", "run=two", *split))
    assert again == pytest.approx(scores, abs=1e-4)  # it started from the weights of the first run


@pytest.mark.thorough
def test_an_adapter_alone_is_trained_further(
    learnable: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bert(here / "bert")
    data = ("data=files", f"data.train={learnable}", "data.max_length=24")
    fixed = ("logger=none", "trainer.epochs=2", "trainer.precision=fp32", "model=hub")
    first = ("model.path=./bert", "strategy=lora", "strategy.lr=1e-2")
    run_here("train", "run=one", *data, *fixed, *first)
    run_here("export", "run=one", "to=one", "merge=false")
    scores = json.loads(run_here("evaluate", "run=one", "--json"))
    further = ("model.path=./one", "strategy=full", "strategy.lr=1e-9")
    printed = run_here("train", "run=two", *data, *fixed, *further)
    assert "head" not in printed
    again = json.loads(run_here("evaluate", "run=two", "--json"))
    assert again == pytest.approx(scores, abs=1e-4)  # it started from the weights of the first run
    other = [{"text": f"text {n}", "label": "yes" if n % 2 else "no"} for n in range(40)]
    other_data = (f"data.train={write_jsonl(here / 'other.jsonl', other)}",)
    printed = run_here("plan", *data, *fixed, *further, *other_data)
    assert "head   new: one has one for other labels (negative, positive)" in printed.replace(
        "head    ", "head   "
    )
    run_here("train", "run=three", *data, *fixed, *first, "strategy=prompt_tuning")
    run_here("export", "run=three", "to=three", "merge=false")
    capsys.readouterr()
    run_here("plan", *data, *fixed, "model.path=./three", "strategy=full", code=2)
    line = "got virtual tokens (PROMPT_TUNING). Train its base model instead."
    assert line in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "export: must be given one of study= and run=, got none. Write study=mine."),
        (
            ["run=a", "study=b"],
            "export: must be given one of study= and run=, got study, run. Write",
        ),
        (["run="], "run: must be set, got nothing. Set run=NAME."),
        (["run=a"], "run: must be a run in runs/, got 'a'. There is none yet;"),
        (["rum=a"], "rum: must be a known key, got rum. Did you mean run?"),
    ],
)
def test_a_failed_export_is_one_line(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    run_here("export", *words, "to=out", code=2)
    assert capsys.readouterr().err.startswith(line)
    assert not list(here.iterdir())


@pytest.fixture
def kept(here: Path) -> Path:
    shutil.copytree(KEPT, here, dirs_exist_ok=True)
    return here


def test_a_finished_trial_with_weights_is_exported(kept: Path) -> None:
    printed = run_here("export", "study=small", "trial=0", "to=out")
    assert printed.startswith("study small, trial 0 is in out/;")
    assert "study small, trial 0" in (kept / "out/README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("trial", "line"),
    [
        ("7", "must be a finished trial of study small, got 7 (no such trial). With weights: 0."),
        (
            "1",
            "its weights must be here, got 1 (search.keep=1 keeps those of the best, where they "
            "trained). With weights: 0. Train it again with finesweep train study=small trial=1, "
            "then export run=small-trial-1.",
        ),
        ("one", "must be a whole number >= 0, got 'one'."),
    ],
)
def test_other_trials_are_refused_with_those_that_have_weights(
    trial: str, line: str, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here("export", "study=small", f"trial={trial}", "to=out", code=2)
    assert capsys.readouterr().err == f"trial: {line}\n"
    assert not (kept / "out").exists()


def test_a_run_has_no_trials(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_here("export", "run=small", "trial=0", "to=out", code=2)
    assert capsys.readouterr().err.startswith("trial: belongs to a study, got run=small.")


def test_a_trial_is_exported_from_a_notebook(kept: Path) -> None:
    study = finesweep.open(study="small")
    assert study.export("out", trial=0).labels
    with pytest.raises(finesweep.UserError, match="With weights: 0"):
        study.export("other", trial=1)
