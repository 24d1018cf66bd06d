from __future__ import annotations

import torch
from datasets import Dataset

from lightning_modules.batch.featured import Featured, TokenFeatured


def test_a_batch_has_the_features_and_the_other_columns_of_its_rows() -> None:
    examples = Featured(torch.arange(6.0).reshape(3, 2), {"labels": [5, 6, 7]})
    batch = examples.__getitems__([2, 0])
    assert len(examples) == 3
    assert batch["features"].tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert batch["labels"].tolist() == [7, 5]


def test_a_range_of_rows_is_not_copied() -> None:
    features = torch.arange(6.0).reshape(3, 2)
    examples = Featured(features, {"labels": [5, 6, 7]})
    part, same = examples.__getitems__(range(1, 3)), examples.__getitems__([1, 2])
    assert {name: each.tolist() for name, each in part.items()} == {
        name: each.tolist() for name, each in same.items()
    }
    assert part["features"].data_ptr() == features[1:].data_ptr()


def test_a_column_of_lists_stays_one_row_per_example() -> None:
    batch = Featured(torch.zeros(2, 3), {"labels": [[0.0, 1.0], [1.0, 1.0]]}).__getitems__([1])
    assert batch["labels"].tolist() == [[1.0, 1.0]]


def test_tokens_have_their_own_vectors_padded_at_the_end() -> None:
    rows = Dataset.from_dict({"input_ids": [[1, 2], [3], [4, 5, 6]]})
    seen: list[object] = []

    def collate(examples: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        seen.extend(example["input_ids"] for example in examples)
        return {"number": torch.arange(len(examples))}

    examples = TokenFeatured(torch.arange(12.0).reshape(6, 2), [2, 1, 3], rows, collate)
    batch = examples.__getitems__([1, 2])
    assert len(examples) == 3
    assert seen == [[3], [4, 5, 6]]
    assert batch["number"].tolist() == [0, 1]
    assert batch["features"].tolist() == [
        [[4.0, 5.0], [0.0, 0.0], [0.0, 0.0]],
        [[6.0, 7.0], [8.0, 9.0], [10.0, 11.0]],
    ]
