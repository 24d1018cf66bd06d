"""What the rows decide: `trainer.epochs: auto` and `data.max_length: auto`.

The rows are not read while a configuration is composed. Until they are, `auto` stands for the
`epochs` of the task in `conf/prior.yaml`, e.g. two, and in the space for one to one more;
`search.plan.length` puts in what the rows need. The length of texts likewise stands for
`USUAL_TOKENS` until `search.estimate.max_length` has counted tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from search.config.prior import AUTO, Table, member_in

EPOCHS = "trainer.epochs"
ROWS = "data.max_train_rows"
MAX_LENGTH = "data.max_length"
VALUE, RANGE, TOKENS = "value", "range", "tokens"
"""What the rows decide: the default length, its range in the space, and the length of texts."""
USUAL_TOKENS = 128
"""The length of texts until they are counted."""
USUAL = 2
"""Epochs of a run with many rows, of a task that the table does not have."""


def take_epochs(config: DictConfig, epochs: int) -> tuple[str, ...]:
    """Replace `trainer.epochs: auto`, in place; return `VALUE` if it was there."""
    if OmegaConf.select(config, EPOCHS) != AUTO:
        return ()
    OmegaConf.update(config, EPOCHS, epochs)
    return (VALUE,)


def take_max_length(config: DictConfig) -> tuple[str, ...]:
    """Replace `data.max_length: auto`, in place; return `TOKENS` if it was there."""
    if OmegaConf.select(config, MAX_LENGTH) != AUTO:
        return ()
    OmegaConf.update(config, MAX_LENGTH, USUAL_TOKENS)
    return (TOKENS,)


def take_range(space: Mapping[str, str], epochs: int) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the space without `trainer.epochs: auto`, and `RANGE` if it was there."""
    if space.get(EPOCHS) != AUTO:
        return dict(space), ()
    return {**space, EPOCHS: f"range(1, {epochs + 2})"}, (RANGE,)


def epochs_at(lengths: Sequence[tuple[int, int]], num_rows: int) -> int:
    """Return the epochs of runs on a number of rows.

    Args:
        lengths: Pairs of rows and epochs: from that many rows on, that many epochs; fewest first.
        num_rows: The number of rows.

    >>> epochs_at([(1, 150), (33, 50), (700, 2)], 40)
    50
    """
    return max((rows, epochs) for rows, epochs in lengths if rows <= num_rows)[1]


def as_written(tree: Mapping[str, Any], open_length: Collection[str]) -> dict[str, Any]:
    """Return a tree with `auto` in the places that the rows decide."""
    written = dict(tree)
    if VALUE in open_length:
        written["trainer"] = {**tree["trainer"], "epochs": AUTO}
    if TOKENS in open_length:
        written["data"] = {**tree["data"], "max_length": AUTO}
    if RANGE in open_length:
        space = {**tree["search"]["space"], EPOCHS: AUTO}
        written["search"] = {**tree["search"], "space": space}
    return written


def steps_needed(config: DictConfig, table: Table) -> int:
    """Return the optimizer steps that a run of the configuration's strategy needs at least."""
    return table.steps.get(member_in(config, "strategy"), table.steps.get("others", 0))


def usual_epochs(config: DictConfig, table: Table) -> int:
    """Return the epochs of a run of the configuration's task with many rows."""
    return table.epochs.get(member_in(config, "task"), table.epochs.get("others", USUAL))
