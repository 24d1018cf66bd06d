"""The race: what a side may read, when it is interrupted, and who is first."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from race import Kept, Result, table
from race_parts.budget import Budget, run
from race_parts.side import OURS, SIDES
from race_parts.text import TEXTS, held_out, write_files

TEXT = "reviews"  # ships with the package
BUSY = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"


def rows_of(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_no_side_reads_a_held_out_row_or_its_label(tmp_path: Path) -> None:
    write_files(TEXT, tmp_path, 0, tmp_path)
    files = {name: rows_of(tmp_path / f"{name}.jsonl") for name in ("rows", "train", "validation")}
    assert len(files["rows"]) == TEXTS[TEXT].num_rows
    parts = [row["text"] for name in ("train", "validation") for row in files[name]]
    assert sorted(parts) == sorted(row["text"] for row in files["rows"])
    others = rows_of(tmp_path / "heldout.jsonl")
    assert [row["text"] for row in others] == [row.text for row in held_out(TEXT, tmp_path)]
    assert len(others) == TEXTS[TEXT].num_held_out
    assert {key for row in others for key in row} == {"text"}
    assert not {row["text"] for row in others} & {row["text"] for row in files["rows"]}


def test_seeds_have_other_rows_in_training_and_the_same_held_out(tmp_path: Path) -> None:
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        write_files(TEXT, tmp_path, seed, tmp_path / str(seed))
    first, second = (tmp_path / "0", tmp_path / "1")
    name = "heldout.jsonl"
    assert (first / name).read_bytes() == (second / name).read_bytes()
    assert (first / "train.jsonl").read_bytes() != (second / "train.jsonl").read_bytes()


@pytest.mark.parametrize("by", ["clock", "cores"])
def test_a_side_is_interrupted_with_its_children(tmp_path: Path, by: str) -> None:
    spent = run([sys.executable, "-c", BUSY], tmp_path, Budget(0.4 / 60, by))
    num_seconds = {"clock": 0.4, "cores": 0.8}[by]  # of two cores
    assert getattr(spent, by) >= num_seconds
    assert "KeyboardInterrupt" in (tmp_path / "log").read_text()


def test_a_side_that_fails_says_why(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "raise SystemExit('no such model')"]
    with pytest.raises(RuntimeError, match="no such model"):
        run(words, tmp_path, Budget(1))


def results(**right: Sequence[str]) -> dict[str, list[Result]]:
    return {side: [Result(each, 1.0, 1.0, "") for each in seeds] for side, seeds in right.items()}


ALL, NONE, HALF = "f" * 25, "0" * 25, "0" * 12 + "1" + "f" * 12


def test_a_result_keeps_a_bit_for_each_row() -> None:
    assert Result("3", 0, 0, "").rows(4).tolist() == [0, 0, 1, 1]


def test_a_side_is_ahead_if_its_lead_is_more_than_its_interval() -> None:
    lines, is_level = table(TEXT, results(**{OURS: [HALF, HALF], "clever": [ALL, ALL]}), 100)
    assert not is_level
    assert "100.0" in lines.splitlines()[1] and "-51.0" in lines.splitlines()[1]
    assert table(TEXT, results(**{OURS: [ALL, ALL], "clever": [HALF, HALF]}), 100)[1]


def test_seeds_that_win_in_turn_are_level() -> None:
    assert table(TEXT, results(**{OURS: [ALL, NONE], "clever": [NONE, ALL]}), 100)[1]


def test_what_was_run_is_not_run_again(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "race.jsonl", tmp_path, Budget(4.0))
    cell = {"text": TEXT, "side": OURS, "seed": 0, "minutes": 4.0, "by": "clock"}
    result = {"right": "ff", "clock": 240.0, "cores": 300.0, "commit": "abc"}
    (tmp_path / "race.jsonl").write_text(json.dumps({"cell": cell, "result": result}) + "\n")
    assert kept.result(TEXT, OURS, 0) == Result(**result)


def test_all_sides_are_named() -> None:
    page = (Path(__file__).parents[2] / "benchmarks" / "race.py").read_text(encoding="utf-8")
    assert all(f"- {side}:" in page for side in SIDES)
