"""Recorded runs as the curves that a replay of a study reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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

    """

    marks: tuple[Mark, ...]
    num_examples: int
    stable_examples: int
    truth: float

    def progress(self, number: int, num_validations: int) -> Progress:
        """Return what a pruner knows of it as trial `number` after its first validations."""
        marks = self.marks[:num_validations]
        return Progress(number, marks, self.num_examples, self.stable_examples)


@dataclass(frozen=True)
class Group:
    """All recorded runs of one strategy on one text."""

    strategy: str
    text: str
    num_rows: int
    curves: Sequence[Curve]


def groups(records: Records, least: int) -> Iterator[Group]:
    """Yield the groups of at least so many finished runs with the first seed.

    Runs that are shorter than those of the default space are left out.
    """
    runs = records.runs
    runs = runs[(runs["seed"] == 0) & (runs["ending"] == "finished")]
    shortest = [length_of(run["strategy"], run["num_train"]).shortest for _, run in runs.iterrows()]
    runs = runs[runs["epochs"] >= shortest]
    by_run = dict(iter(records.validations.groupby("run")))
    for (strategy, text, num_rows), chosen in runs.groupby(["strategy", "text", "num_rows"]):
        labels = records.labels(text, num_rows, "validation")
        curves = [curve(run, by_run[run["run"]], labels) for _, run in chosen.iterrows()]
        if len(curves) >= least:
            yield Group(strategy, text, num_rows, curves)


def curve(run: Any, validations: pandas.DataFrame, labels: np.ndarray) -> Curve:
    """Return a run's curve; `labels` are those of the validation rows."""
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
    return Curve(marks, marks[-1].examples, int(stable), points[-1]["truth_accuracy"])


def brier(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the Brier score of the validation rows, logits (N, C)."""
    powers = np.exp(logits.astype(float) - logits.max(axis=1, keepdims=True).astype(float))
    distances = powers / powers.sum(axis=1, keepdims=True) - np.eye(logits.shape[1])[labels]
    return float(np.square(distances).sum(axis=1).mean())
