from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest

from lightning_modules.data.split import Pool, stratified_part
from lightning_modules.rows.columns import Columns
from lightning_modules.rows.corpus import Row, normalized
from lightning_modules.task.base import Task
from search.config import build_run, compose
from tests.conftest import classification

TASK = classification()

ROWS = [
    {"text": f"review {number}", "label": "rare" if number % 10 == 0 else "common"}
    for number in range(200)
]


def split_off(
    rows: list, task: Task, fraction: float, seed: int, name: str
) -> tuple[Sequence[Row], Sequence[Row]]:
    """Return the rows that are left, and those that are taken."""
    pool = Pool(rows, task, {name: seed})
    taken = pool.take(fraction, name)
    return pool.rows, taken


def texts(rows: list) -> set[str]:
    return {normalized(row["text"]) for row in rows}


@pytest.mark.parametrize("other", ["not bad", "Not  BAD ", "\tnot\nbad"])
def test_case_and_spaces_are_ignored_when_comparing_texts(other: str) -> None:
    assert normalized(other) == "not bad"


def test_punctuation_distinguishes_texts() -> None:
    assert normalized("not bad!") != normalized("not bad")


def test_every_label_contributes_its_share() -> None:
    _, taken = split_off(ROWS, TASK, 0.2, 0, "test")
    assert Counter(row["label"] for row in taken) == {"rare": 4, "common": 36}


@pytest.mark.parametrize("seed", range(5))
def test_no_row_is_lost_or_duplicated(seed: int) -> None:
    kept, taken = split_off(ROWS, TASK, 0.3, seed, "test")
    assert sorted(row["text"] for row in kept + taken) == sorted(row["text"] for row in ROWS)


def test_both_parts_keep_the_order_of_the_file() -> None:
    for side in split_off(ROWS, TASK, 0.3, 0, "test"):
        assert side == [row for row in ROWS if row in side]


def test_the_same_seed_takes_the_same_rows() -> None:
    assert split_off(ROWS, TASK, 0.2, 3, "test") == split_off(ROWS, TASK, 0.2, 3, "test")


def test_another_seed_or_name_takes_other_rows() -> None:
    first = texts(split_off(ROWS, TASK, 0.2, 0, "test")[1])
    assert texts(split_off(ROWS, TASK, 0.2, 1, "test")[1]) != first
    assert texts(split_off(ROWS, TASK, 0.2, 0, "validation")[1]) != first


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_rows_does_not_matter(seed: int) -> None:
    rows = ROWS + [{**row, "text": row["text"].upper()} for row in ROWS[:30]]
    mixed = random.Random(seed).sample(rows, len(rows))
    assert texts(split_off(mixed, TASK, 0.2, 0, "test")[1]) == texts(
        split_off(rows, TASK, 0.2, 0, "test")[1]
    )


def test_the_order_does_not_matter_if_duplicates_have_different_labels() -> None:
    rows = [*ROWS, {"text": "both", "label": "rare"}, {"text": "both", "label": "common"}]
    taken, again = (split_off(each, TASK, 0.2, 0, "test")[1] for each in (rows, rows[::-1]))
    assert texts(taken) == texts(again)


@pytest.mark.parametrize("seed", range(10))
def test_duplicates_stay_in_the_same_split(seed: int) -> None:
    rows = ROWS[:40] + [{**row, "text": f" {row['text'].upper()}"} for row in ROWS[:20]]
    kept, taken = split_off(rows, TASK, 0.3, seed, "test")
    assert taken
    assert not texts(kept) & texts(taken)


def test_a_text_with_many_duplicates_does_not_enlarge_the_split() -> None:
    rows = [{"text": "same", "label": "a"}] * 40 + [
        {"text": f"other {number}", "label": "a"} for number in range(60)
    ]
    assert max(len(split_off(rows, TASK, 0.1, seed, "test")[1]) for seed in range(40)) <= 20


def test_a_label_with_a_single_text_stays_in_train() -> None:
    rows = [*ROWS, {"text": "alone", "label": "single"}, {"text": "Alone", "label": "single"}]
    kept, taken = split_off(rows, TASK, 0.4, 0, "test")
    assert Counter(row["label"] for row in kept)["single"] == 2
    assert "single" not in {row["label"] for row in taken}


def test_a_rare_label_contributes_at_least_one_row() -> None:
    rows = [*ROWS, {"text": "one", "label": "small"}, {"text": "two", "label": "small"}]
    kept, taken = split_off(rows, TASK, 0.1, 0, "test")
    assert [Counter(row["label"] for row in side)["small"] for side in (kept, taken)] == [1, 1]


@pytest.mark.parametrize("num_rows", [2, 7, 50, 199, 200])
def test_a_part_has_the_given_size_and_the_label_shares(num_rows: int) -> None:
    part = stratified_part(ROWS, TASK, num_rows, 0)
    assert len(part) == num_rows
    assert part == [row for row in ROWS if row in part]
    counts = Counter(row["label"] for row in part)
    assert counts["rare"] >= 1
    assert abs(counts["rare"] - num_rows / 10) < 1


def test_a_larger_part_contains_the_smaller_one() -> None:
    sizes = [texts(stratified_part(ROWS, TASK, num_rows, 0)) for num_rows in range(2, 200)]
    assert all(one < other for one, other in pairwise(sizes))


def test_a_part_depends_on_the_seed_but_not_on_the_row_order() -> None:
    first = texts(stratified_part(ROWS, TASK, 40, 0))
    mixed = random.Random(0).sample(ROWS, len(ROWS))
    assert texts(stratified_part(mixed, TASK, 40, 0)) == first
    assert texts(stratified_part(ROWS, TASK, 40, 1)) != first


def test_a_part_contains_every_label() -> None:
    rows = [{"text": f"{number}", "label": f"{number % 20}"} for number in range(19)]
    rows += [{"text": f"more {number}", "label": "19"} for number in range(1000)]
    assert len({row["label"] for row in stratified_part(rows, TASK, 20, 0)}) == 20


@pytest.mark.parametrize("seed", range(10))
def test_a_row_with_a_unique_required_kind_stays_in_train(seed: int) -> None:
    task = build_run(compose("train", ["task=multi_label_classification"]).tree).task
    rare = [["common", f"rare {number}"] if number % 9 == 0 else ["common"] for number in range(90)]
    rows = [{"text": f"text {n}", "label": labels} for n, labels in enumerate(rare)]
    kept, taken = split_off(rows, task, 0.3, seed, "test")
    known = {label for row in kept for label in row["label"]}
    assert all(set(row["label"]) <= known for row in taken)
    assert 12 <= len(taken) <= 27
    random.Random(seed).shuffle(rows)
    again, _ = split_off(rows, task, 0.3, seed, "test")
    assert texts(again) == texts(kept)


def test_splits_are_those_that_are_taken_from_what_others_left() -> None:
    kept, test = split_off(ROWS, TASK, 0.2, 3, "test")
    kept, validation = split_off(list(kept), TASK, 0.3, 4, "validation")
    for rows in (ROWS, Columns.of(ROWS)):
        pool = Pool(rows, TASK, {"test": 3, "validation": 4})
        assert pool.take(0.2, "test") == test
        assert pool.take(0.3, "validation") == validation
        assert pool.rows == kept


def test_columns_remember_what_their_texts_are_known_by() -> None:
    rows = Columns.of([*ROWS, {"text": " REVIEW  1", "label": "common"}])
    pool = Pool(rows, TASK, {"test": 0})
    fresh = TASK.identities(list(rows))
    assert TASK.identities(rows).tolist() == fresh.tolist() and fresh[-1] == fresh[1]
    taken = Columns.of(list(pool.take(0.3, "test")))
    assert TASK.identities(taken).tolist() == TASK.identities(list(taken)).tolist()
