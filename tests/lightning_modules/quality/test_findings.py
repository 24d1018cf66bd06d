"""What single findings say of a few rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lightning_modules.quality import suspect
from lightning_modules.quality.duplicate import find_duplicates
from lightning_modules.quality.finding import quiet, shown
from lightning_modules.quality.fragment import find_fragments
from lightning_modules.quality.length import find_lengths
from lightning_modules.quality.listing import Listing, listing_of
from lightning_modules.quality.near import find_near
from lightning_modules.quality.sample import sample
from lightning_modules.quality.script import find_scripts
from lightning_modules.quality.shortcut import find_shortcuts
from lightning_modules.quality.suspect import find_suspects, label_errors
from tests.lightning_modules.quality.texts import labelled, run_of


def listing(rows: list[dict[str, Any]]) -> Listing:
    return listing_of(run_of().task, {"train": rows}, {"train": ("my.csv", rows)})


def of_texts(*texts: str) -> Listing:
    return listing([{"text": text, "label": "a"} for text in texts])


class Counted(list[str]):
    """Splits that count how often all of them are read."""

    passes = 0

    def __iter__(self) -> Iterator[str]:
        self.passes += 1
        return super().__iter__()


def test_many_duplicates_are_found_in_a_few_passes() -> None:
    words = [f"{n} {n}{n} {n}{n}{n} {n}" for n in range(100, 200)]
    texts = [f"{word}{mark}" for word in words for mark in ("", " ", ".")]
    whole = of_texts(*texts)
    splits = Counted(whole.splits)
    counted = replace(whole, splits=splits)
    assert find_duplicates(counted).within == {"train": 100}
    assert find_near(counted, quiet).within == {"train": 100}
    assert splits.passes <= 3  # not one per group
    assert counted.place(4).where == "my.csv row 5"


def test_scripts() -> None:
    texts = ["all of it is Latin"] * 98 + ["всё кириллицей", "half и половина"]
    found = find_scripts(of_texts(*texts), range(100))
    assert found.rows == {"LATIN": 98, "CYRILLIC": 2} and found.mixed == 1
    assert [each.where for each in found.examples] == ["my.csv row 100"]
    assert find_scripts(of_texts("1 2 3", "漢字かな交じり"), range(2)).rows == {
        "none": 1,
        "HAN/KANA": 1,
    }


def test_shortcuts() -> None:
    rows = [
        {"text": f"{name} match number {n}", "label": name}
        for n in range(10)
        for name in ("sport", "chess")
    ]
    found = find_shortcuts(listing(rows), range(20))
    assert (found.in_text, found.others, found.in_label, found.is_fault) == (20, 0, 0, True)
    for row in rows:
        row["text"] = row["text"].replace("sport", "transports")
    found = find_shortcuts(listing(rows), range(20))
    assert (found.in_text, found.others) == (10, 0)
    rows = [{**row, "text": f"sport or chess {n}"} for n, row in enumerate(rows)]
    assert not find_shortcuts(listing(rows), range(20)).is_fault  # says nothing about the class


def test_lengths() -> None:
    found = find_lengths(of_texts(*("x " * n for n in range(1, 101))), range(100))
    assert found.words == {"0.5": 50, "0.95": 95, "0.99": 99, "1.0": 100}


def test_fragments() -> None:
    run = run_of()
    tokenizer = run.model.load_tokenizer()
    found = find_fragments(of_texts("a good film", "a xkcdqzw film"), range(2), tokenizer, "m")
    assert found is not None
    assert [word.word for word in found.words] == ["xkcdqzw"] and found.broken == 1 / 6
    size = len(tokenizer("xkcdqzw", add_special_tokens=False)["input_ids"])
    assert found.words[0].tokens == size and found.tokens_per_word == round((5 + size) / 6, 4)


def test_a_sample_is_of_the_rows_that_are_read() -> None:
    rows = labelled(40)
    splits = {"train": rows[:20], "validation": rows[20:30], "test": rows[30:]}
    whole = listing_of(run_of().task, splits, {name: (name, each) for name, each in splits.items()})
    assert sample(whole) == list(range(30))
    part = sample(whole, 7)
    assert len(set(part)) == 7 and max(part) < 30 and part == sorted(part) == sample(whole, 7)


def test_confident_learning() -> None:
    probabilities = np.array(
        [[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.1, 0.9], [0.3, 0.7], [0.95, 0.05], [0.45, 0.55]]
    )
    labels = np.array([0, 0, 0, 1, 1, 1, 0])
    # Thresholds: 0.5625 of class 0, 0.55 of class 1.
    assert label_errors(probabilities, labels) == [(5, 0), (2, 1), (6, 1)]


@pytest.mark.parametrize("sizes", [(560, 40), (6,) * 30])
def test_classes_that_are_too_rare_to_be_drawn_are_looked_at(
    sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some rows decide on the penalty; they may have five rows of one class only, or of none."""
    monkeypatch.setattr(suspect, "MAX_CHOSEN_BY", 12)
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    rows = [
        {"text": f"class{label} row {n}", "label": f"c{label}"} for n, label in enumerate(labels)
    ]
    names = sorted({row["label"] for row in rows})
    features = np.array([[10 * np.eye(len(names))[names.index(row["label"])]] for row in rows])
    found = find_suspects(listing(rows), range(len(rows)), features, quiet)
    assert found is not None and found.number == len(rows) and found.accuracy > 0.95


@pytest.mark.parametrize(
    ("text", "line"),
    [("a\x1b[31m red\nline", "a [31m red line"), ("x" * 500, "x" * 90), ("", "")],
)
def test_texts_are_shown_in_one_line(text: str, line: str) -> None:
    assert shown(text) == line
