"""Which rows of a shared pass are whose: the rows of each run, one run after the other.

Shapes: B rows of all runs, T tokens of the widest row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_modules.fit.pack.draws import Draws

if TYPE_CHECKING:
    from lightning_modules.batch.type import Batch

PADDED_WITH_0 = ("attention_mask", "token_type_ids")
"""Columns whose padding is 0. `input_ids` are padded with the network's own token, and rows of
other columns are not padded at all."""


class CannotShare(Exception):
    """These rows, or these networks, cannot share a pass; the message says why."""


@dataclass(frozen=True)
class Place:
    """The rows of one run.

    Attributes:
        slot: The run's number in the pack.
        start: Its first row.
        end: The row after its last one.
        width: Tokens of its rows, without what was added to those of the widest run.
        draws: Its random numbers.

    """

    slot: int
    start: int
    end: int
    width: int
    draws: Draws

    def of(self, tensor: Tensor) -> Tensor:
        """Return the run's rows of a tensor (B, ...); of a tensor (B, T, D), its own tokens."""
        rows = tensor[self.start : self.end]
        return rows[:, : self.width] if tensor.dim() > 2 else rows


class Layout:
    """The places of the pass that is running; without one, all rows are those of slot 0."""

    def __init__(self) -> None:
        self.places: Sequence[Place] = ()

    def split(self, rows: Tensor) -> list[tuple[int, Tensor]]:
        """Return each slot with its rows of a tensor (B, ...), or (B * T, ...)."""
        if not self.places:
            return [(0, rows)]
        num_rows = self.places[-1].end
        times, rest = divmod(len(rows), num_rows)
        if rest:
            raise CannotShare(f"a layer gets {len(rows)} rows for the {num_rows} of a batch")
        return [(each.slot, rows[each.start * times : each.end * times]) for each in self.places]

    def apply(self, of_slot: Callable[[int], nn.Module], rows: Tensor, **inputs: Any) -> Tensor:
        """Return what each slot's module makes of its own rows and tokens, joined.

        Each draws from its own random numbers, for tensors of the same shapes as alone.
        """
        if not self.places:
            output: Tensor = of_slot(0)(rows, **inputs)
            return output
        if len(rows) != self.places[-1].end:
            raise CannotShare(f"{type(of_slot(0)).__name__} gets other rows than those of a batch")
        found = []
        for place in self.places:
            with place.draws.drawing():
                found.append(of_slot(place.slot)(place.of(rows), **inputs))
        return torch.cat(_of_one_width(found))


def joined(
    batches: Sequence[Mapping[str, Tensor]], draws: Sequence[Draws], pad_token: int | None
) -> tuple[dict[str, Tensor], list[Place]]:
    """Return the inputs of several runs as one batch, and the place of each.

    Args:
        batches: What each run's network is called with, one entry per row.
        draws: The random numbers of each run.
        pad_token: The token that the network takes for padding.

    Raises:
        CannotShare: They have other columns, or columns that cannot be padded.

    """
    widths = [batch["input_ids"].shape[1] for batch in batches]
    is_padded = len(set(widths)) > 1
    if is_padded and pad_token is None:
        raise CannotShare("the network has no token for padding")
    names = {name for batch in batches for name in batch}
    if is_padded:
        names.add("attention_mask")
    inputs = {}
    for name in sorted(names):
        parts = [_column(name, batch) for batch in batches]
        if name == "input_ids" or name in PADDED_WITH_0:
            value = (pad_token or 0) if name == "input_ids" else 0
            parts = [_widened(part, max(widths), value) for part in parts]
        if len({part.shape[1:] for part in parts}) > 1:
            raise CannotShare(f"the rows have different widths of {name}")
        inputs[name] = torch.cat(parts)
    return inputs, list(_places([len(batch["input_ids"]) for batch in batches], widths, draws))


def _places(sizes: Sequence[int], widths: Sequence[int], draws: Sequence[Draws]) -> Iterator[Place]:
    start = 0
    for slot, (size, width, each) in enumerate(zip(sizes, widths, draws, strict=True)):
        yield Place(slot, start, start + size, width, each)
        start += size


def _column(name: str, batch: Batch) -> Tensor:
    if name in batch:
        return batch[name]
    if name != "attention_mask":
        raise CannotShare(f"not all batches have {name}")
    return torch.ones_like(batch["input_ids"])


def _widened(rows: Tensor, width: int, value: int) -> Tensor:
    return nn.functional.pad(rows, (0, width - rows.shape[1]), value=value)


def _of_one_width(parts: list[Tensor]) -> list[Tensor]:
    if parts[0].dim() <= 2:
        return parts
    most = max(part.shape[1] for part in parts)
    return [nn.functional.pad(part, (0, 0, 0, most - part.shape[1])) for part in parts]
