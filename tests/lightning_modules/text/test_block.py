from __future__ import annotations

import random

import pytest

from lightning_modules.batch.type import IGNORED
from lightning_modules.text.block import best_fit, blocks


@pytest.mark.parametrize("capacity", [20, 33, 100])
def test_no_item_is_lost_and_no_bin_is_too_full(capacity: int) -> None:
    rng = random.Random(capacity)
    sizes = [rng.randint(1, 20) for _ in range(300)]
    bins = best_fit(sizes, capacity)
    assert sorted(item for members in bins for item in members) == list(range(300))
    assert all(sum(sizes[item] for item in members) <= capacity for members in bins)
    assert len(bins) <= 11 / 9 * -(-sum(sizes) // capacity) + 1


def test_blocks_hold_whole_examples_and_restart_their_positions() -> None:
    columns = {
        "input_ids": [[1, 2, 3], [4, 5], [6, 7, 8, 9]],
        "labels": [[IGNORED, 3, 0], [5, 0], [IGNORED, IGNORED, 9, 0]],
        "row": [0, 1, 2],
    }
    found = {
        name: [list(map(int, each)) for each in cells]
        for name, cells in blocks(columns, 6, 0).items()
    }
    assert found == {
        "input_ids": [[1, 2, 3, 0, 0, 0], [4, 5, 6, 7, 8, 9]],
        "labels": [[IGNORED, 3, 0, *[IGNORED] * 3], [5, 0, IGNORED, IGNORED, 9, 0]],
        "position_ids": [[0, 1, 2, 0, 1, 2], [0, 1, 0, 1, 2, 3]],
    }
