from __future__ import annotations

import random
from itertools import pairwise

import pytest

from lightning_modules.batch.order import (
    NUM_FEATURES_AT_ONCE,
    TrainingBatches,
    epoch_batches,
    evaluation_batches,
    feature_batches,
    sorted_batches,
)

LENGTHS = [random.Random(number).randint(3, 120) for number in range(1003)]


def stream(start: int = 0, num_epochs: int = 3, batch_size: int = 16) -> TrainingBatches:
    num_steps = num_epochs * -(-len(LENGTHS) // batch_size)
    return TrainingBatches(LENGTHS, batch_size, seed=7, num_steps=num_steps, start=start)


def padding(batches: list[list[int]]) -> int:
    return sum(
        max(LENGTHS[row] for row in batch) * len(batch) - sum(LENGTHS[row] for row in batch)
        for batch in batches
    )


@pytest.mark.parametrize("batch_size", [1, 16, 1000, 5000])
@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_an_epoch_is_a_permutation(epoch: int, batch_size: int) -> None:
    batches = epoch_batches(LENGTHS, batch_size, 0, epoch)
    assert sorted(row for batch in batches for row in batch) == list(range(len(LENGTHS)))
    assert sorted(map(len, batches)) == sorted(
        len(LENGTHS[at : at + batch_size]) for at in range(0, len(LENGTHS), batch_size)
    )


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    random.seed(1)
    first = epoch_batches(LENGTHS, 16, 0, 0)
    random.seed(2)
    assert epoch_batches(LENGTHS, 16, 0, 0) == first
    assert epoch_batches(LENGTHS, 16, 0, 1) != first
    assert epoch_batches(LENGTHS, 16, 1, 0) != first


def test_every_epoch_groups_rows_differently() -> None:
    first, second = ({frozenset(b) for b in epoch_batches(LENGTHS, 16, 0, e)} for e in (0, 1))
    assert not first & second


def test_padding_is_far_less_than_in_a_random_order() -> None:
    rows = random.Random(0).sample(range(len(LENGTHS)), len(LENGTHS))
    shuffled = [rows[at : at + 16] for at in range(0, len(rows), 16)]
    assert padding(epoch_batches(LENGTHS, 16, 0, 0)) < padding(shuffled) / 4


def test_batches_are_not_sorted_by_length() -> None:
    longest = [max(LENGTHS[row] for row in batch) for batch in epoch_batches(LENGTHS, 16, 0, 0)]
    rises = sum(after > before for before, after in pairwise(longest))
    assert 0.3 < rises / len(longest) < 0.7


@pytest.mark.parametrize("start", [1, 62, 63, 64, 100, 126, 188, 189])
def test_starting_at_any_step_continues_the_same_batches(start: int) -> None:
    assert list(stream(start)) == list(stream())[start:]


@pytest.mark.parametrize("start", [0, 1, 63, 189])
def test_the_length_is_the_number_of_remaining_batches(start: int) -> None:
    assert len(stream(start)) == len(list(stream(start))) == 189 - start


def test_a_longer_run_starts_with_the_batches_of_a_shorter_one() -> None:
    assert list(stream(num_epochs=5))[:189] == list(stream(num_epochs=3))


def test_the_short_batch_counts_as_a_step() -> None:
    assert len(list(stream(num_epochs=1))) == 63
    assert len(list(stream(num_epochs=1, batch_size=1003))) == 1


@pytest.mark.parametrize(
    ("start", "num_steps"),
    [(s, n) for s in (0, 1, 62) for n in (1, 62, 63, 64, 100) if s < n],
)
def test_a_run_may_end_anywhere_in_an_epoch(start: int, num_steps: int) -> None:
    batches = TrainingBatches(LENGTHS, 16, seed=7, num_steps=num_steps, start=start)
    assert list(batches) == list(stream())[start:num_steps]


def test_the_batches_can_be_iterated_twice() -> None:
    batches = stream()
    assert list(batches) == list(batches)


def test_sorted_batches_contain_every_row_once_longest_first() -> None:
    rows = [row for batch in sorted_batches(LENGTHS, 64) for row in batch]
    assert sorted(rows) == list(range(len(LENGTHS)))
    assert [LENGTHS[row] for row in rows] == sorted(LENGTHS, reverse=True)


def test_rows_of_equal_length_stay_in_order() -> None:
    assert sorted_batches([5, 9, 5, 9], 3) == [[1, 3, 0], [2]]


@pytest.mark.parametrize("num", [0, 1, NUM_FEATURES_AT_ONCE, NUM_FEATURES_AT_ONCE + 1])
def test_batches_of_features_have_every_row_once_in_order(num: int) -> None:
    batches = feature_batches(num)
    assert [row for batch in batches for row in batch] == list(range(num))
    assert all(0 < len(batch) <= NUM_FEATURES_AT_ONCE for batch in batches)
    assert len(batches) == -(-num // NUM_FEATURES_AT_ONCE)


@pytest.mark.parametrize("num_first", [0, 20, 70, 1003, 5000])
def test_the_first_examples_have_batches_of_their_own(num_first: int) -> None:
    batches = evaluation_batches(LENGTHS, num_first)
    assert sorted(row for batch in batches for row in batch) == list(range(len(LENGTHS)))
    assert all(min(batch) >= num_first or max(batch) < num_first for batch in batches)
    num_first = min(num_first, len(LENGTHS))
    others = len(LENGTHS) - num_first
    assert len(batches) == -(-num_first // 64) + -(-others // 64)
