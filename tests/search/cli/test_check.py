"""`finesweep check`: its report in words and as JSON, and its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import finesweep
from search.report.dashboard.note import read_note
from search.trained.find import find_study
from tests.conftest import run_here, write_jsonl
from tests.lightning_modules.quality.texts import labelled

WORDS = ("data=files", "data.train=my.jsonl")


@pytest.fixture
def rows(here: Path) -> Path:
    return write_jsonl(here / "my.jsonl", labelled(60))


def test_the_report_is_the_same_in_words_as_json_and_in_python(
    rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = run_here("check", *WORDS)
    assert "broken      every row can be read\n" in printed
    known = json.loads(run_here("check", *WORDS, "--json"))
    report = finesweep.check(*WORDS, show=False)
    assert known == json.loads(json.dumps(report.as_dict()))
    assert printed == "\n".join(report.lines()) + "\n"
    assert [each["line"] in printed for each in known["findings"].values()]
    assert capsys.readouterr().err == ""


def test_what_a_sweep_refuses_ends_with_2(rows: Path) -> None:
    with rows.open("a") as file:
        file.write('{"text": "", "label": "good"}\n')
    printed = run_here("check", *WORDS, code=2)
    assert "my.jsonl:61:text: must not be empty" in printed


def test_a_wrong_key_is_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_here("check", "data=files", "data.train=none.csv", code=2)
    error = capsys.readouterr().err
    assert error.startswith("data.train: must be a file, got 'none.csv'")
    assert len(error.splitlines()) == 1


@pytest.mark.thorough
def test_a_study_is_checked_before_it_starts(learnable: Path) -> None:
    rows = [json.loads(line) for line in learnable.read_text().splitlines()]
    for name, part in {"train": rows[20:], "validation": rows[:10], "test": rows[10:20]}.items():
        write_jsonl(Path(f"{name}.jsonl"), part)
    twice = [*rows[20:], rows[30], {**rows[3], "text": rows[3]["text"].upper()}]
    write_jsonl(Path("train.jsonl"), twice)
    names = [f"data.{name}={name}.jsonl" for name in ("train", "validation", "test")]
    words = ("data=files", *names, "experiment=smoke", "logger=none")
    printed = run_here("sweep", "study=mine", *words, "search.workers=0", "search.num_trials=1")
    left_out = "also in validation or test"
    assert printed.count(left_out) == 2  # before the first trial and in the summary
    assert "check   an equal text: " in printed
    assert "check   near duplicates within a split" in printed
    report = json.loads(Path("studies/mine/check.json").read_text())
    assert report["findings"]["duplicates"]["within"]["train"] >= 1
    assert report["left_out"] and any(left_out in note for note in report["notes"])
    assert "check   an equal text: " in read_note(find_study("mine").optuna, None)
    checked = run_here("check", "study=mine", "--json")
    assert json.loads(checked) == json.loads(run_here("check", *words, "--json"))
    assert any("data.on_leak=drop" in note for note in json.loads(checked)["notes"])


def test_only_the_rows_of_a_study_that_exists_are_checked(
    rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here("check", "study=mine", *WORDS, code=2)
    run_here("check", "study=mine", code=2)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "data: study=mine brings its own data, got data=files."
    assert second.startswith("study: must ") and not Path("studies").exists()


def test_nothing_is_written(rows: Path) -> None:
    run_here("check", *WORDS)
    assert [each.name for each in rows.parent.iterdir()] == ["my.jsonl"]
