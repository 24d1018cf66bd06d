from __future__ import annotations

import torch

from lightning_modules.batch.join import in_row_order
from lightning_modules.batch.order import evaluation_batches


def test_observations_in_batches_by_length_are_joined_in_the_order_of_the_rows() -> None:
    lengths = [5 + number * 7 % 83 for number in range(150)]
    batches = evaluation_batches(lengths)
    assert [row for batch in batches for row in batch] != list(range(150))
    observed = [
        {"length_B": torch.tensor([lengths[row] for row in batch]), "row_BD": pairs(batch)}
        for batch in batches
    ]
    joined = in_row_order(observed, batches)
    assert joined["length_B"].tolist() == lengths
    assert torch.equal(joined["row_BD"], pairs(range(150)))


def pairs(rows: list[int] | range) -> torch.Tensor:
    return torch.tensor([[row, -row] for row in rows])
