from __future__ import annotations

import json
from collections import Counter

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from lightning_modules.data.reviews import Reviews
from lightning_modules.rows.corpus import SPLITS, normalized
from lightning_modules.rows.embedded import REVIEWS
from tests.conftest import classification

CORPUS = Reviews(batch_size=16, max_length=128).load(classification())
ROWS = [json.loads(line) for line in REVIEWS.read_text(encoding="utf-8").splitlines()]


def of(split: str) -> tuple[list[str], list[str]]:
    rows = CORPUS.splits[split]
    return [row["text"] for row in rows], [row["label"] for row in rows]


def test_the_splits_have_600_200_and_200_rows() -> None:
    assert {split: len(rows) for split, rows in CORPUS.splits.items()} == {
        "train": 600,
        "validation": 200,
        "test": 200,
    }


def test_every_row_of_the_file_is_in_a_split() -> None:
    assert len(ROWS) == 1000


def test_a_row_has_a_text_and_a_label() -> None:
    assert all(set(row) == {"text", "label"} for rows in CORPUS.splits.values() for row in rows)


@pytest.mark.parametrize("split", SPLITS)
def test_half_of_each_split_is_positive(split: str) -> None:
    num_rows = len(CORPUS.splits[split])
    assert Counter(of(split)[1]) == {"positive": num_rows // 2, "negative": num_rows // 2}


def test_there_are_at_least_ten_kinds() -> None:
    assert len({row["kind"] for row in ROWS}) >= 10


@pytest.mark.parametrize("split", SPLITS)
def test_every_kind_is_balanced_over_the_labels(split: str) -> None:
    counts = Counter((row["kind"], row["label"]) for row in ROWS if row["split"] == split)
    kinds = {row["kind"] for row in ROWS}
    assert set(counts) == {(kind, label) for kind in kinds for label in ("positive", "negative")}
    assert len(set(counts.values())) == 1


def test_no_text_occurs_twice() -> None:
    counts = Counter(normalized(row["text"]) for row in ROWS)
    assert [text for text, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("split", ["validation", "test"])
def test_single_words_predict_the_label_better_than_chance_but_not_well(split: str) -> None:
    baseline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10, max_iter=1000)
    )
    baseline.fit(*of("train"))
    assert 0.60 < baseline.score(*of(split)) < 0.85
