"""Each finding is exactly what was planted in real files, with its place in them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.quality.check import check_data
from lightning_modules.quality.report import Report
from tests.conftest import write_jsonl
from tests.lightning_modules.quality.texts import labelled, run_of, sentences, split_words

SPLITS = ("train", "validation", "test")
CHEAP = ("strategy=feature_extraction", "model=tiny")


def report_of(here: Path, rows: dict[str, list[dict[str, Any]]], *words: str) -> Report:
    for name, each in rows.items():
        write_jsonl(here / f"{name}.jsonl", each)
    return check_data(run_of(*split_words(tuple(rows)), *CHEAP, *words))


def finding(report: Report, name: str) -> dict[str, Any]:
    # As a program reads it.
    found: dict[str, Any] = json.loads(json.dumps(report.as_dict()))["findings"][name]
    return found


def clean() -> dict[str, list[dict[str, Any]]]:
    rows = labelled(60)
    return {"train": rows[:40], "validation": rows[40:50], "test": rows[50:]}


def test_clean_rows_have_no_fault(here: Path) -> None:
    report = report_of(here, clean())
    # The vocabulary of model=tiny lacks most of their words.
    assert [each.name for each in report.faults] == ["fragments"] and not report.is_refused
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
    report = check_data(run_of(*split_words(SPLITS), *CHEAP))
    assert [each["where"] for each in finding(report, "broken")["rows"]] == ["validation.jsonl:11"]
    assert finding(report, "balance")["rows"] == {"train": 40, "test": 10}


def test_what_a_sweep_refuses_of_a_part_of_the_rows_is_refused(here: Path) -> None:
    rows = clean()
    rows["train"].append(rows["test"][0])
    for word, where in (
        ("data.on_leak=error", "data.on_leak"),
        ("data.max_train_rows=1", "data.max_train_rows"),
    ):
        report = report_of(here, rows, word)
        assert [each["where"] for each in finding(report, "broken")["rows"]] == [where]
        assert finding(report, "balance")["rows"] == {"train": 41, "validation": 10, "test": 10}
    report = report_of(here, rows)
    assert not report.is_refused
    line = "1 training row is also in validation or test: left out of training (data.on_leak=drop)"
    assert line in report.notes


def test_how_files_were_read_is_told(here: Path) -> None:
    rows = [f"{each['text']} café,{each['label']}" for each in labelled(60)]
    Path("train.csv").write_text("\n".join(["text,label", *rows]), "cp1252")
    report = check_data(run_of("data=files", "data.train=train.csv", *CHEAP))
    assert any("read as Windows-1252" in note for note in report.notes)


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
    report = report_of(here, {"train": rows}, "task=summarization")
    assert "conflicts" not in report.as_dict()["findings"]
    assert finding(report, "duplicates")["within"] == {"train": 1}


def test_near_duplicates_within_and_between_splits(here: Path) -> None:
    rows = clean()
    for split, number in (("train", 2), ("validation", 5), ("test", 5)):
        text = rows["train"][number]["text"]
        rows[split].append({"text": f"{text} indeed", "label": "bad"})
    found = finding(report_of(here, rows), "near")
    assert found["within"] == {"train": 1}
    assert found["between"] == {"train/validation": 1, "train/test": 1}  # the last two are equal
    places = [(pair["first"]["where"], pair["second"]["where"]) for pair in found["pairs"]]
    assert sorted(places) == [
        ("train.jsonl row 3", "train.jsonl row 41"),
        ("train.jsonl row 6", "validation.jsonl row 11"),
    ]


def test_pairs_that_share_a_long_text_are_not_near(here: Path) -> None:
    rows = [
        {"text": sentences(1)[0], "text_pair": text, "label": ("yes", "no")[n % 2]}
        for n, text in enumerate(sentences(40, seed=2))
    ]
    rows.append({**rows[0], "text_pair": f"{rows[0]['text_pair']}!"})
    report = report_of(here, {"train": rows}, "data.text_pair=text_pair")
    ((pair),) = finding(report, "near")["pairs"]
    places = {pair[side]["where"] for side in ("first", "second")}
    assert places == {"train.jsonl row 1", "train.jsonl row 41"}


@pytest.mark.thorough
def test_flipped_labels_are_suspects_and_the_baselines_are_scored(here: Path) -> None:
    mood = {"bad": "a terrible waste of {}", "good": "a wonderful gift of {}"}
    rows = [
        {"text": mood[label].format(text), "label": label}
        for n, text in enumerate(sentences(120))
        for label in (("bad", "good")[n % 2],)
    ]
    flipped = [3, 50, 77]
    for number in flipped:
        rows[number]["label"] = {"bad": "good", "good": "bad"}[rows[number]["label"]]
    rows[99] = {**rows[98], "label": rows[99]["label"]}  # a conflict, and no suspect
    splits = {"train": rows[:100], "validation": rows[100:]}
    report = report_of(here, splits, "model=minilm", "data.test_fraction=0")
    suspects = finding(report, "labels")["rows"]
    assert {each["row"]["where"] for each in suspects[:3]} == {
        f"train.jsonl row {number + 1}" for number in flipped
    }
    assert not {"train.jsonl row 99", "train.jsonl row 100"} & {
        each["row"]["where"] for each in suspects
    }
    assert all(each["looks_like"] != each["row"]["label"] for each in suspects)
    scores = finding(report, "to beat")["scores"]
    assert scores["TF-IDF + linear"] == {"accuracy": 1.0, "macro_f1": 1.0}
    assert scores["always 'bad'"]["accuracy"] == 0.5
    assert len(scores) == 3 and "frozen features" not in report.left_out


def test_numbers_have_baselines_too(here: Path) -> None:
    texts = sentences(80)
    rows = [{"text": text, "label": float(text.count("harbour"))} for text in texts]
    splits = {"train": rows[:60], "validation": rows[60:]}
    report = report_of(here, splits, "task=regression", "data.test_fraction=0")
    found = finding(report, "to beat")
    mean, ridge, nearest = found["scores"].values()
    true = [row["label"] for row in rows[60:]]
    middle = sum(row["label"] for row in rows[:60]) / 60
    assert mean["mae"] == pytest.approx(sum(abs(each - middle) for each in true) / 20)
    assert mean["pearson"] == mean["spearman"] == 0
    assert ridge["rmse"] < mean["rmse"] and ridge["spearman"] > 0.5
    assert nearest.keys() == ridge.keys() == {"rmse", "mae", "pearson", "spearman"}
    assert found["line"].startswith("validation RMSE always the mean ")
    assert not any(each.is_fault for each in report.findings if each.name == "to beat")


def test_similarities_have_baselines_without_frozen_features(here: Path) -> None:
    texts = sentences(80)
    rows = [
        {"text": text, "text_pair": other, "label": float(len({*text.split()} & {*other.split()}))}
        for text, other in pairwise(texts)
    ]
    splits = {"train": rows[:60], "validation": rows[60:]}
    words = ("task=similarity", "model.kind=encoder", "data.test_fraction=0")
    report = report_of(here, splits, *words)
    assert finding(report, "to beat")["scores"].keys() >= {"TF-IDF + ridge"}
    assert report.left_out["frozen features"] == "the task embeds each text on its own"


def test_a_model_that_cannot_be_used_leaves_the_rest(here: Path) -> None:
    report = report_of(here, clean(), "model=hub", "model.path=./nowhere")
    assert {"frozen features", "fragments"} <= report.left_out.keys()
    assert "to beat" in report.as_dict()["findings"]
