from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, concatenate_datasets, load_from_disk

from lightning_modules.batch.block import Blocks, Windows, are_blocks
from lightning_modules.batch.collate import Collate
from lightning_modules.batch.order import TrainingBatches, TrainingWindows
from lightning_modules.model.kind import Kind
from lightning_modules.model.tiny import Tiny

TOKENIZER = Tiny(kind=Kind.decoder, width=8, num_layers=1, num_heads=1).load_tokenizer()


def dataset(folder: Path) -> Any:
    """Return rows from disk, in chunks of different sizes."""
    parts = [
        Dataset.from_dict(
            {
                "input_ids": [[100 * row, 100 * row + 1, 100 * row + 2] for row in rows],
                "labels": [[row, -100, row] for row in rows],
                "row": list(rows),
            }
        )
        for rows in (range(4), range(4, 5), range(5, 12))
    ]
    concatenate_datasets(parts).save_to_disk(folder)
    return load_from_disk(str(folder))


def test_a_batch_equals_its_collated_examples(here: Path) -> None:
    examples = dataset(here / "rows")
    assert are_blocks(examples)
    for rows in ([0], [11, 3, 4, 5], list(range(12))):
        expected = Collate(TOKENIZER)([examples[row] for row in rows])
        found = Blocks(examples).__getitems__(rows)
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():
            assert torch.equal(found[name], tensor)
            assert found[name].dtype == tensor.dtype


@pytest.mark.parametrize(
    "columns",
    [
        {"input_ids": [[1, 2], [1]]},
        {"input_ids": [[1, 2]], "labels": ["a"]},
        {"input_ids": [[1.0, 2.0]]},
        {"input_ids": [[1, 2]], "labels": [0.5]},
    ],
    ids=["lengths", "text", "fractions", "fraction"],
)
def test_unequal_lengths_and_other_types_are_not_blocks(columns: dict[str, Any]) -> None:
    assert not are_blocks(Dataset.from_dict(columns))


def test_a_window_continues_in_the_next_block_across_chunks(here: Path) -> None:
    examples = dataset(here / "rows").remove_columns(["row"])
    windows = Windows(examples)
    stream = [token for tokens in examples["input_ids"] for token in tokens]
    begins = [0, 1, 11, 12, 14, 15, 33]
    found = windows.__getitems__(begins)["input_ids"].tolist()
    assert found == [stream[begin : begin + 3] for begin in begins]


def windows(seed: int, start: int) -> list[list[int]]:
    batches = TrainingBatches([8] * 50, 4, seed=seed, num_steps=30, start=start)
    return list(TrainingWindows(batches, 8, 50, seed=seed, start=start))


def test_windows_start_anywhere_in_the_stream() -> None:
    begins = [begin for batch in windows(0, 0) for begin in batch]
    assert {begin % 8 for begin in begins} == set(range(8))
    assert min(begins) >= 0 and max(begins) <= 49 * 8
    first_epoch = begins[:50]
    assert {begin // 8 for begin in first_epoch} == set(range(50))


def test_windows_depend_only_on_seed_and_step() -> None:
    whole = windows(0, 0)
    assert windows(0, 11) == whole[11:]
    assert windows(1, 0) != whole
