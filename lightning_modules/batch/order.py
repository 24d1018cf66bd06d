"""Which rows form which batch: a shuffle with a seed, grouped by length.

The order is a function of (lengths, seed, epoch, batch size), so a run resumed at any step gets
the same batches as an uninterrupted one. Within chunks of a shuffled epoch, rows are sorted by
length and cut into batches, which are shuffled again: little padding, still random.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from lightning_modules.seed import seed_of

CHUNK_BATCHES = 32
NUM_EVALUATED_AT_ONCE = 64
NUM_FEATURES_AT_ONCE = 1024
"""Examples of a validation batch that only passes a head, which takes microseconds."""


def epoch_batches(
    lengths: Sequence[int], batch_size: int, seed: int, epoch: int
) -> list[list[int]]:
    """Return the epoch's batches of row numbers; every row occurs once, one batch may be short."""
    rng = random.Random(seed_of(seed, "order", epoch))
    rows = list(range(len(lengths)))
    rng.shuffle(rows)
    batches = []
    for start in range(0, len(rows), CHUNK_BATCHES * batch_size):
        chunk = sorted(rows[start : start + CHUNK_BATCHES * batch_size], key=lengths.__getitem__)
        cut = [chunk[at : at + batch_size] for at in range(0, len(chunk), batch_size)]
        rng.shuffle(cut)
        batches.extend(cut)
    return batches


def sorted_batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Return all row numbers in batches of similar length, longest first."""
    rows = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    return [rows[at : at + batch_size] for at in range(0, len(rows), batch_size)]


def evaluation_batches(lengths: Sequence[int], num_first: int = 0) -> list[list[int]]:
    """Return the numbers of all examples in batches of similar length, for evaluation.

    Args:
        lengths: The number of tokens of each.
        num_first: How many of the first examples are in batches of their own.

    """
    first = sorted_batches(lengths[:num_first], NUM_EVALUATED_AT_ONCE)
    others = sorted_batches(lengths[num_first:], NUM_EVALUATED_AT_ONCE)
    return [*first, *([num_first + row for row in batch] for batch in others)]


def feature_batches(num_examples: int) -> list[range]:
    """Return the numbers of all examples in batches for evaluation by a head alone."""
    starts = range(0, num_examples, NUM_FEATURES_AT_ONCE)
    return [range(start, min(start + NUM_FEATURES_AT_ONCE, num_examples)) for start in starts]


class TrainingBatches:
    """The batches of a run from optimizer step `start` to its end; a DataLoader's batch sampler."""

    def __init__(
        self, lengths: Sequence[int], batch_size: int, *, seed: int, num_steps: int, start: int
    ) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._num_steps = num_steps
        self._start = start

    def __len__(self) -> int:
        return self._num_steps - self._start

    def __iter__(self) -> Iterator[list[int]]:
        steps_per_epoch = -(-len(self._lengths) // self._batch_size)
        step = self._start
        while step < self._num_steps:
            epoch, skipped = divmod(step, steps_per_epoch)
            batches = epoch_batches(self._lengths, self._batch_size, self._seed, epoch)
            for batch in batches[skipped : skipped + self._num_steps - step]:
                yield batch
                step += 1


class TrainingWindows:
    """The same batches for rows that are blocks of one stream: the start of each window.

    A window starts at a random place in its block, drawn from (seed, step), and ends in the next
    block. With fixed starts the network would see each token after the same few tokens in every
    epoch.
    """

    def __init__(
        self, batches: TrainingBatches, length: int, num_blocks: int, *, seed: int, start: int
    ) -> None:
        self._batches = batches
        self._length = length
        self._last = (num_blocks - 1) * length
        self._seed = seed
        self._start = start

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        for step, rows in enumerate(self._batches, self._start):
            rng = random.Random(seed_of(self._seed, "windows", step))
            starts = (row * self._length + rng.randrange(self._length) for row in rows)
            yield [min(start, self._last) for start in starts]
