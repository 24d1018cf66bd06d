"""Recorded runs as the curves that a replay of a study reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from recorded.length import length_of
from recorded.table import Records

from search.pruner.progress import LOSS, METRIC, Mark, Progress

if TYPE_CHECKING:
    import pandas

METRIC_COLUMN = "accuracy"
BRIER = "brier"


@dataclass(frozen=True)
class Curve:
    """A whole run.

    Attributes:
        marks: Its validations.
        num_examples: Examples in the whole run.
        stable_examples: Examples until a longer run would differ.
        truth: The metric on held-out rows at the end of the run.
        compared: What a pruner sees of its validations; None if it sees all of their rows.

    """

    marks: tuple[Mark, ...]
    num_examples: int
    stable_examples: int
    truth: float
    compared: tuple[Mark, ...] | None = None

    def progress(self, number: int, num_validations: int) -> Progress:
        """Return what a pruner knows of it as trial `number` after its first validations."""
        marks = (self.compared or self.marks)[:num_validations]
        return Progress(number, marks, self.num_examples, self.stable_examples)


@dataclass(frozen=True)
class Group:
    """All recorded runs of one strategy on one text."""

    strategy: str
    text: str
    num_rows: int
    curves: Sequence[Curve]


def groups(
    records: Records, least: int, share: float | None = None, seed: int = 0
) -> Iterator[Group]:
    """Yield the groups of finished runs with the first seed.

    Runs that are shorter than those of the default space are left out.

    Args:
        records: The records.
        least: The fewest runs of a group.
        share: The share of the validation rows of each class that a pruner sees; None: all.
        seed: Which rows these are.

    """
    runs = records.runs
    runs = runs[(runs["seed"] == 0) & (runs["ending"] == "finished")]
    shortest = [length_of(run["strategy"], run["num_train"]).shortest for _, run in runs.iterrows()]
    runs = runs[runs["epochs"] >= shortest]
    by_run = dict(iter(records.validations.groupby("run")))
    for (strategy, text, num_rows), chosen in runs.groupby(["strategy", "text", "num_rows"]):
        labels = records.labels(text, num_rows, "validation")
        part = None if share is None else stratified(labels, share, seed)
        curves = [curve(run, by_run[run["run"]], labels, part) for _, run in chosen.iterrows()]
        if len(curves) >= least:
            yield Group(strategy, text, num_rows, curves)


def stratified(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return the numbers of a share of the rows of each class, drawn at random."""
    rng = np.random.default_rng(seed)
    rows = (np.flatnonzero(labels == each) for each in np.unique(labels))
    return np.concatenate([rng.permutation(own)[: max(1, round(share * len(own)))] for own in rows])


def curve(
    run: Any, validations: pandas.DataFrame, labels: np.ndarray, part: np.ndarray | None = None
) -> Curve:
    """Return a run's curve.

    Args:
        run: The run's row of the table.
        validations: Its validations.
        labels: The classes of the validation rows.
        part: The numbers of the rows that a pruner sees; None: all.

    """
    points = validations.sort_values("number").to_dict("records")
    marks = tuple(
        Mark(
            int(point["step"]),
            int(point["examples"]),
            float(point["epoch"]),
            {
                LOSS: -point["validation_loss"],
                METRIC: point[METRIC_COLUMN],
                BRIER: -brier(point["logits"], labels),
            },
        )
        for point in points
    )
    settings = json.loads(run["settings"])
    decay_steps = round(settings["schedule.decay_fraction"] * run["num_steps"])
    stable = marks[-1].examples * (run["num_steps"] - decay_steps) // run["num_steps"]
    compared = None
    if part is not None:
        compared = tuple(
            replace(mark, values=scores(point["logits"][part], labels[part]))
            for mark, point in zip(marks, points, strict=True)
        )
    truth = points[-1]["truth_accuracy"]
    return Curve(marks, marks[-1].examples, int(stable), truth, compared)


def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return what a validation of these rows says, larger is better; logits (N, C)."""
    shifted = logits.astype(float) - logits.max(axis=1, keepdims=True).astype(float)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return {
        LOSS: float(log_probabilities[np.arange(len(labels)), labels].mean()),
        METRIC: float((logits.argmax(axis=1) == labels).mean()),
        BRIER: -brier(logits, labels),
    }


def brier(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the Brier score of the validation rows, logits (N, C)."""
    powers = np.exp(logits.astype(float) - logits.max(axis=1, keepdims=True).astype(float))
    distances = powers / powers.sum(axis=1, keepdims=True) - np.eye(logits.shape[1])[labels]
    return float(np.square(distances).sum(axis=1).mean())
