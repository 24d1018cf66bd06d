"""finesweep predict: its formats, and a file that is continued."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet
import pytest

from tests.conftest import run_here
from tests.shared import ROOT
from tests.test_kept import KEPT


@pytest.fixture
def kept(here: Path) -> Path:
    shutil.copytree(KEPT, here, dirs_exist_ok=True)
    return here


def predict(*words: str, code: int = 0) -> str:
    return run_here("predict", "model=export", *words, code=code)


def test_every_format_has_the_same_predictions(kept: Path) -> None:
    for ending in ("jsonl", "csv", "parquet"):
        predict("input=input.jsonl", f"output=out.{ending}", "top=1")
    lines = [json.loads(line) for line in (kept / "out.jsonl").read_text("utf-8").splitlines()]
    expected = [
        {"text": row["text"], "prediction": row["prediction"], "top1": label, "top1_score": score}
        for row in lines
        for label, score in row["scores"].items()
    ]
    assert len(expected) == 3
    assert pyarrow.parquet.read_table("out.parquet").to_pylist() == expected
    with (kept / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = [{**row, "top1_score": float(row["top1_score"])} for row in csv.DictReader(file)]
    assert rows == expected


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("top=0",), "top: must be a whole number > 0, got '0'."),
        (("top=all",), "top: must be a whole number > 0, got 'all'."),
        (("output=/proc/x/o.csv",), "output: must be a folder that can be written, got /proc/x"),
        (("input=top1.csv", "top=1"), "input: the input must not have the columns that predict"),
    ],
)
def test_mistakes_are_one_line(
    words: tuple[str, ...], line: str, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (kept / "top1.csv").write_text("text,top1\na,b\n")
    before = sorted(kept.rglob("*"))
    predict("input=input.jsonl", "output=out.csv", *words, code=2)
    error = capsys.readouterr().err
    assert error.startswith(line) and error.count("\n") == 1
    assert sorted(kept.rglob("*")) == before


def test_more_labels_than_there_are_is_said(kept: Path) -> None:
    printed = predict("input=input.jsonl", "output=out.csv", "top=3")
    assert "note: top=3, but the model has 2 labels\n" in printed


@pytest.mark.parametrize("place", ["[a 1.csv,1e5.csv]", "*.csv", "['a 1.csv', '1e*.csv']"])
def test_several_files_are_predicted_in_their_order(place: str, kept: Path) -> None:
    (kept / "a 1.csv").write_text("text\ngood\nbad\n")
    (kept / "1e5.csv").write_text("text\nfine\n")
    predict(f"input={place}", "output=out.jsonl")
    rows = [json.loads(line) for line in (kept / "out.jsonl").read_text().splitlines()]
    found = sorted((row["text"], row["file"]) for row in rows)
    assert found == [("bad", "a 1.csv"), ("fine", "1e5.csv"), ("good", "a 1.csv")]
    predict("input=1e5.csv", "output=one.jsonl")
    (row,) = map(json.loads, (kept / "one.jsonl").read_text().splitlines())
    assert "file" not in row


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("[a.csv,b.csv]", "input: files must have the columns of a.csv: text, file, got"),
        (
            "[a.csv,c.csv]",
            "input: the input must not have the columns that predict adds, got 'file'.",
        ),
        ("no*.csv", "input: must be a pattern of files that exist, got 'no*.csv'."),
        ("[a.csv,gone.csv]", "input: must be a file, got 'gone.csv'."),
    ],
)
def test_files_that_do_not_fit_together_are_refused(
    place: str, line: str, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (kept / "a.csv").write_text("text,file\ngood,1\n")
    (kept / "b.csv").write_text("text\ngood\n")
    (kept / "c.csv").write_text("text,file\ngood,1\n")
    predict(f"input={place}", "output=out.jsonl", code=2)
    error = capsys.readouterr().err
    assert error.startswith(line) and error.count("\n") == 1
    assert not list(kept.glob("*out.jsonl*"))


@pytest.mark.thorough
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_killed_command_is_continued(
    ending: str, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"id": n, "text": f"It is number {n}{', and fine' * (n % 7)}."} for n in range(12_000)]
    (kept / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    words = ("predict", "model=export", "input=new.jsonl")
    code = "import sys; from search.cli import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words, f"output=out.{ending}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    first = kept / f".out.{ending}.parts/{256:010}.jsonl"
    while not first.is_file() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not (kept / f"out.{ending}").exists()
    (kept / "other.jsonl").write_text(json.dumps(rows[0]) + "\n", "utf-8")
    predict("input=other.jsonl", f"output=out.{ending}", code=2)
    assert "must be of the same input" in capsys.readouterr().err
    printed = predict("input=new.jsonl", f"output=out.{ending}")
    assert " of 12000 rows were predicted before; continuing after them\n" in printed
    assert f"wrote 12000 rows to out.{ending}\n" in printed
    predict("input=new.jsonl", f"output=whole.{ending}")
    assert (kept / f"out.{ending}").read_bytes() == (kept / f"whole.{ending}").read_bytes()
    if ending == "csv":
        with (kept / "out.csv").open(encoding="utf-8", newline="") as file:
            assert [int(row["id"]) for row in csv.DictReader(file)] == list(range(12_000))
    assert not list(kept.glob(".out*"))
