"""Labels as people write them, on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import run_here

NUM = 60
WORDS = ("study=s", "experiment=smoke", "data=files", "data.train=my.csv")
SEVERAL = (*WORDS, "task=multi_label_classification", "task.metric=micro_f1")


def write(header: str, *ends: str) -> None:
    rows = (f"a text {number},{ends[number % len(ends)]}\n" for number in range(NUM))
    Path("my.csv").write_text(f"{header}\n{''.join(rows)}")


def test_labels_between_bars(here: Path) -> None:
    write("text,labels", "sport|money", "law", "money")
    told = run_here("plan", *SEVERAL, "task.separator='|'")
    assert "my.csv: labels read as labels between '|'; 0 of 60 rows have none" in told


def test_a_column_for_each_label(here: Path) -> None:
    write("text,sport,money", "1,0", "0,1", "1,1", "0,0")
    told = run_here("plan", *SEVERAL, "task.label_columns=[sport,money]")
    assert "my.csv: read the labels sport, money from a column each; 15 of 60 rows" in told


def test_another_value_in_a_column_of_labels_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("text,sport,money", "1,0", "0,maybe")
    run_here("plan", *SEVERAL, "task.label_columns=[sport,money]", code=2)
    line = "my.csv:3:money: must be 0 or 1, got 'maybe'."
    assert capsys.readouterr().err.startswith(line)


def test_labels_that_change_their_kind_are_told_by_every_command(here: Path) -> None:
    write("text,label", *["0", "1"] * 20, "positive")
    told = "my.csv:42:label: 'positive' is a word, but the labels above it are numbers, e.g. '0'"
    assert told in run_here("plan", *WORDS)
    assert told in run_here("check", *WORDS[1:])


def test_one_label_in_two_spellings_is_one_and_told(here: Path) -> None:
    write("text,label", "True", "false", "TRUE")
    told = run_here("plan", *WORDS)
    assert "my.csv:label: True and TRUE are read as one label, 'true'" in told
    assert "2 labels" in told
