from __future__ import annotations

import random
from collections import Counter

import pytest

from lightning_modules.data.split import normalized, split_off

ROWS = [
    {"text": f"review {number}", "label": "rare" if number % 10 == 0 else "common"}
    for number in range(200)
]


def texts(rows: list) -> set[str]:
    return {normalized(row["text"]) for row in rows}


@pytest.mark.parametrize("other", ["not bad", "Not  BAD ", "\tnot\nbad"])
def test_case_and_spaces_do_not_count(other: str) -> None:
    assert normalized(other) == "not bad"


def test_punctuation_counts() -> None:
    assert normalized("not bad!") != normalized("not bad")


def test_every_label_gives_its_share() -> None:
    _, taken = split_off(ROWS, 0.2, 0, "test")
    assert Counter(row["label"] for row in taken) == {"rare": 4, "common": 36}


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_lost_and_nothing_doubled(seed: int) -> None:
    kept, taken = split_off(ROWS, 0.3, seed, "test")
    assert sorted(row["text"] for row in kept + taken) == sorted(row["text"] for row in ROWS)


def test_both_sides_keep_the_files_order() -> None:
    for side in split_off(ROWS, 0.3, 0, "test"):
        assert side == [row for row in ROWS if row in side]


def test_the_same_seed_takes_the_same_rows() -> None:
    assert split_off(ROWS, 0.2, 3, "test") == split_off(ROWS, 0.2, 3, "test")


def test_another_seed_or_name_takes_others() -> None:
    first = texts(split_off(ROWS, 0.2, 0, "test")[1])
    assert texts(split_off(ROWS, 0.2, 1, "test")[1]) != first
    assert texts(split_off(ROWS, 0.2, 0, "validation")[1]) != first


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_rows_does_not_matter(seed: int) -> None:
    rows = ROWS + [{**row, "text": row["text"].upper()} for row in ROWS[:30]]
    mixed = random.Random(seed).sample(rows, len(rows))
    assert texts(split_off(mixed, 0.2, 0, "test")[1]) == texts(split_off(rows, 0.2, 0, "test")[1])


def test_the_order_does_not_matter_where_duplicates_disagree() -> None:
    rows = [*ROWS, {"text": "both", "label": "rare"}, {"text": "both", "label": "common"}]
    taken, again = (split_off(each, 0.2, 0, "test")[1] for each in (rows, rows[::-1]))
    assert texts(taken) == texts(again)


@pytest.mark.parametrize("seed", range(10))
def test_duplicates_stay_on_one_side(seed: int) -> None:
    rows = ROWS[:40] + [{**row, "text": f" {row['text'].upper()}"} for row in ROWS[:20]]
    kept, taken = split_off(rows, 0.3, seed, "test")
    assert taken
    assert not texts(kept) & texts(taken)


def test_a_much_repeated_text_does_not_swell_the_split() -> None:
    rows = [{"text": "same", "label": "a"}] * 40 + [
        {"text": f"other {number}", "label": "a"} for number in range(60)
    ]
    assert max(len(split_off(rows, 0.1, seed, "test")[1]) for seed in range(40)) <= 20


def test_a_label_with_one_text_is_kept_whole() -> None:
    rows = [*ROWS, {"text": "alone", "label": "single"}, {"text": "Alone", "label": "single"}]
    kept, taken = split_off(rows, 0.4, 0, "test")
    assert Counter(row["label"] for row in kept)["single"] == 2
    assert "single" not in {row["label"] for row in taken}


def test_a_small_label_gives_at_least_one() -> None:
    rows = [*ROWS, {"text": "one", "label": "small"}, {"text": "two", "label": "small"}]
    kept, taken = split_off(rows, 0.1, 0, "test")
    assert [Counter(row["label"] for row in side)["small"] for side in (kept, taken)] == [1, 1]
