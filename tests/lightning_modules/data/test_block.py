from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, concatenate_datasets, load_from_disk

from lightning_modules.data.block import Blocks, are_blocks
from lightning_modules.data.collate import Collate
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


def test_a_batch_is_what_collating_its_examples_gives(here: Path) -> None:
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
def test_other_examples_are_no_blocks(columns: dict[str, Any]) -> None:
    assert not are_blocks(Dataset.from_dict(columns))
