"""The length of a run that the number of its rows decides: `trainer.epochs: auto`.

The rows are not read while a configuration is composed. Until they are, `auto` stands for two
epochs, and in the space for one to three; `search.plan.length` puts in what the rows need.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from search.config.prior import AUTO, Table

EPOCHS = "trainer.epochs"
ROWS = "data.max_train_rows"
VALUE, RANGE = "value", "range"
"""What the rows decide: the default length, and its range in the space."""
_UNTIL_THEN = {VALUE: 2, RANGE: "range(1, 4)"}


def take_epochs(config: DictConfig) -> tuple[str, ...]:
    """Replace `trainer.epochs: auto`, in place; return `VALUE` if it was there."""
    if OmegaConf.select(config, EPOCHS) != AUTO:
        return ()
    OmegaConf.update(config, EPOCHS, _UNTIL_THEN[VALUE])
    return (VALUE,)


def take_range(space: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the space without `trainer.epochs: auto`, and `RANGE` if it was there."""
    if space.get(EPOCHS) != AUTO:
        return dict(space), ()
    return {**space, EPOCHS: str(_UNTIL_THEN[RANGE])}, (RANGE,)


def epochs_at(lengths: Sequence[tuple[int, int]], num_rows: int) -> int:
    """Return the epochs of runs on a number of rows.

    Args:
        lengths: Pairs of rows and epochs: so many epochs from so many rows on, fewest rows first.
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
    if RANGE in open_length:
        space = {**tree["search"]["space"], EPOCHS: AUTO}
        written["search"] = {**tree["search"], "space": space}
    return written


def steps_needed(config: DictConfig, table: Table) -> int:
    """Return the optimizer steps that a run of the configuration's strategy needs at least."""
    strategy = str(OmegaConf.select(config, "strategy._target_")).split(".")[-2:][0]
    return table.steps.get(strategy, table.steps.get("others", 0))
