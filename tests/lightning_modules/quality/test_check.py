"""Each finding is exactly what was planted in real files, with its place in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning_modules.quality.check import check_data
from lightning_modules.quality.report import Report
from tests.conftest import write_jsonl
from tests.lightning_modules.quality.texts import labelled, run_of, sentences, split_words

SPLITS = ("train", "validation", "test")


def report_of(here: Path, rows: dict[str, list[dict[str, Any]]], *words: str) -> Report:
    for name, each in rows.items():
        write_jsonl(here / f"{name}.jsonl", each)
    return check_data(run_of(*split_words(tuple(rows)), *words))


def finding(report: Report, name: str) -> dict[str, Any]:
    # As a program reads it.
    found: dict[str, Any] = json.loads(json.dumps(report.as_dict()))["findings"][name]
    return found


def clean() -> dict[str, list[dict[str, Any]]]:
    rows = labelled(60)
    return {"train": rows[:40], "validation": rows[40:50], "test": rows[50:]}


def test_clean_rows_have_no_fault(here: Path) -> None:
    report = report_of(here, clean())
    assert report.faults == [] and not report.is_refused
    assert finding(report, "balance")["classes"]["train"] == {"bad": 20, "good": 20}


def test_every_broken_row_is_named_and_the_others_are_checked(here: Path) -> None:
    rows = clean()
    broken = [{"text": " ", "label": "good"} for _ in range(15)]
    twin = {"text": sentences(1)[0].upper(), "label": "bad"}
    rows["train"] = [*broken, *rows["train"], twin]
    report = report_of(here, rows)
    assert report.is_refused
    assert [each["where"] for each in finding(report, "broken")["rows"]] == [
        f"train.jsonl:{line}:text" for line in range(1, 16)
    ]
    (group,) = finding(report, "duplicates")["groups"]
    assert [each["where"] for each in group] == ["train.jsonl row 16", "train.jsonl row 56"]


def test_a_file_that_cannot_be_read_is_named(here: Path) -> None:
    for name, each in clean().items():
        write_jsonl(here / f"{name}.jsonl", each)
    with (here / "validation.jsonl").open("a") as file:
        file.write("{no JSON\n")
    report = check_data(run_of(*split_words(SPLITS)))
    assert [each["where"] for each in finding(report, "broken")["rows"]] == ["validation.jsonl:11"]
    assert finding(report, "balance")["rows"] == {"train": 40, "test": 10}


def test_duplicates_within_and_between_splits(here: Path) -> None:
    rows = clean()
    rows["train"].append({**rows["train"][3], "text": f"  {rows['train'][3]['text'].title()} "})
    rows["test"] += [rows["train"][0], rows["validation"][1], rows["train"][0]]
    found = finding(report_of(here, rows), "duplicates")
    assert found["within"] == {"train": 1, "test": 1}
    assert found["between"] == {"train/test": 2, "validation/test": 1}
    places = [[each["where"] for each in group] for group in found["groups"]]
    assert sorted(places) == [
        ["train.jsonl row 1", "test.jsonl row 11", "test.jsonl row 13"],
        ["train.jsonl row 4", "train.jsonl row 41"],
        ["validation.jsonl row 2", "test.jsonl row 12"],
    ]


def test_conflicts(here: Path) -> None:
    rows = clean()
    rows["train"] += [{**rows["train"][2], "label": "good"}, rows["train"][4]]
    found = finding(report_of(here, rows), "conflicts")
    assert found["number"] == 1
    assert [each["label"] for each in found["groups"][0]] == ["bad", "good"]


def test_rare_classes(here: Path) -> None:
    rows = clean()
    rows["train"] += [{"text": text, "label": "odd"} for text in sentences(2, seed=1)]
    found = finding(report_of(here, rows), "balance")
    assert found["is_fault"] and found["rare"] == ["odd"] and found["ratio"] == 10


def test_rows_that_are_drawn_from_train_keep_their_place(here: Path) -> None:
    rows = labelled(60)
    report = report_of(here, {"train": [*rows, rows[7]]})
    (group,) = finding(report, "duplicates")["groups"]
    assert [each["where"] for each in group] == ["train.jsonl row 8", "train.jsonl row 61"]
    assert set(finding(report, "balance")["rows"]) == set(SPLITS)


def test_equal_sources_of_a_summary_are_no_conflict(here: Path) -> None:
    rows = [{"document": text, "summary": f"summary {n}"} for n, text in enumerate(sentences(40))]
    rows.append({**rows[0], "summary": "another"})
    report = report_of(here, {"train": rows}, "task=summarization", "model=tiny")
    assert "conflicts" not in report.as_dict()["findings"]
    assert finding(report, "duplicates")["within"] == {"train": 1}
