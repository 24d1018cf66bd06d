"""Functions of batches over all examples."""

from __future__ import annotations

import pytest
import torch

from lightning_modules.batch.evaluate import over_examples
from lightning_modules.batch.micro import Limit
from lightning_modules.batch.type import Batch
from lightning_modules.outcome import Stopped

LENGTHS = [3, 1, 2, 5]


def collate(lengths: list[int]) -> dict[str, torch.Tensor]:
    return {"input_ids": torch.tensor(lengths)[:, None].expand(-1, max(lengths))}


@pytest.mark.parametrize("fitting", [1, 2, 4])
def test_results_are_in_the_order_of_the_examples_whatever_fits(fitting: int) -> None:
    sizes = []

    def see(batch: Batch) -> dict[str, torch.Tensor]:
        sizes.append(len(batch["input_ids"]))
        if sizes[-1] > fitting:
            raise torch.OutOfMemoryError
        return {"found": batch["input_ids"][:, 0]}

    found = over_examples(LENGTHS, LENGTHS, collate, torch.device("cpu"), see, Limit())
    assert found["found"].tolist() == LENGTHS
    assert sizes[-1] == fitting


def test_an_example_that_does_not_fit_ends_the_run() -> None:
    def see(batch: Batch) -> dict[str, torch.Tensor]:
        raise torch.OutOfMemoryError

    with pytest.raises(Stopped, match="one example of 5 tokens does not fit into memory"):
        over_examples(LENGTHS, LENGTHS, collate, torch.device("cpu"), see, Limit())


def test_no_more_tokens_are_seen_at_once_than_the_limit() -> None:
    shapes = []

    def see(batch: Batch) -> dict[str, torch.Tensor]:
        shapes.append(tuple(batch["input_ids"].shape))
        return {"found": batch["input_ids"][:, 0]}

    lengths = [3] * 70
    cpu, limit = torch.device("cpu"), Limit(tokens=64)
    found = over_examples(lengths, lengths, collate, cpu, see, limit)
    assert found["found"].tolist() == lengths
    assert set(shapes) == {(21, 3), (1, 3), (6, 3)}
