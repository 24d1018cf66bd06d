from __future__ import annotations

import torch

from lightning_modules.batch.featured import Featured


def test_a_batch_has_the_features_and_the_other_columns_of_its_rows() -> None:
    examples = Featured(torch.arange(6.0).reshape(3, 2), {"labels": [5, 6, 7]})
    batch = examples.__getitems__([2, 0])
    assert len(examples) == 3
    assert batch["features"].tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert batch["labels"].tolist() == [7, 5]


def test_a_column_of_lists_stays_one_row_per_example() -> None:
    batch = Featured(torch.zeros(2, 3), {"labels": [[0.0, 1.0], [1.0, 1.0]]}).__getitems__([1])
    assert batch["labels"].tolist() == [[1.0, 1.0]]
