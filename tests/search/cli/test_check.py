"""`finesweep check`: its report in words and as JSON, and its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import finesweep
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


def test_nothing_is_written(rows: Path) -> None:
    run_here("check", *WORDS)
    assert [each.name for each in rows.parent.iterdir()] == ["my.jsonl"]
