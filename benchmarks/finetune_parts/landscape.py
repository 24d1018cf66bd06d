"""Recorded runs as answers to what samplers suggest: the nearest run stands for a suggestion."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pruned.curve import brier
from recorded.length import is_in_space
from recorded.table import Records

from search.plan.opening import LEARNING_RATE
from search.pruner.progress import LOSS, METRIC, Mark, Progress

BATCH_SIZE, EPOCHS = "data.batch_size", "trainer.epochs"
SCALES: Mapping[str, float] = {LEARNING_RATE: 1.0, BATCH_SIZE: 2.0, EPOCHS: 0.7}
"""How far values must be apart, in powers of e, to count as much as a factor of e of the rate."""


@dataclass(frozen=True)
class Recorded:
    """A whole run.

    Attributes:
        values: Learning rate, batch size and epochs, by config path.
        marks: Its validations, twice in an epoch.
        num_examples: Examples in the whole run.
        stable_examples: Examples until a longer run would differ.
        truth: The accuracy on held-out rows at the end of the run.

    """

    values: Mapping[str, float]
    marks: tuple[Mark, ...]
    num_examples: int
    stable_examples: int
    truth: float

    @property
    def batch_size(self) -> int:
        """The batch size."""
        return int(self.values[BATCH_SIZE])

    def progress(self, number: int, num_validations: int, *, can_win: bool = True) -> Progress:
        """Return what a pruner knows of it as trial `number` after its first validations."""
        marks = self.marks[:num_validations]
        return Progress(number, marks, self.num_examples, self.stable_examples, can_win)


@dataclass(frozen=True)
class Landscape:
    """Recorded runs of a strategy on a text."""

    strategy: str
    text: str
    runs: Sequence[Recorded]

    def nearest(self, values: Mapping[str, Any]) -> Recorded:
        """Return the run that is nearest to a trial's values."""

        def distance(run: Recorded) -> float:
            logs = (math.log(values[path] / run.values[path]) / SCALES[path] for path in SCALES)
            return sum(each**2 for each in logs)

        return min(self.runs, key=distance)


def landscapes(
    records: Records, strategy: str, num_rows: int = 400, *, in_space: bool = True
) -> Iterator[Landscape]:
    """Yield the landscape of each text, of the lengths that the default space holds or of all."""
    runs = records.runs
    chosen = (runs["strategy"] == strategy) & (runs["num_rows"] == num_rows) & (runs["seed"] == 0)
    runs = runs[chosen & (runs["ending"] == "finished")]
    if in_space:
        sizes = zip(runs["num_train"], runs["epochs"], strict=True)
        runs = runs[[is_in_space(strategy, num_train, epochs) for num_train, epochs in sizes]]
    by_run = dict(iter(records.validations.groupby("run")))
    for text, of_text in runs.groupby("text"):
        labels = records.labels(text, num_rows, "validation")
        found = [_recorded(run, by_run[run["run"]], labels) for _, run in of_text.iterrows()]
        yield Landscape(strategy, text, found)


def _recorded(run: Any, validations: Any, labels: Any) -> Recorded:
    points = validations.sort_values("number").to_dict("records")
    marks = tuple(
        Mark(
            int(point["step"]),
            int(point["examples"]),
            float(point["epoch"]),
            {
                LOSS: -point["validation_loss"],
                METRIC: -point["validation_loss"],
                "log_loss": -point["validation_loss"],
                "brier": -brier(point["logits"], labels),
            },
        )
        for point in points
    )
    share = json.loads(run["settings"])["schedule.decay_fraction"]
    num_steps, num_examples = int(run["num_steps"]), marks[-1].examples
    stable = num_examples * (num_steps - round(share * num_steps)) // num_steps
    values = {LEARNING_RATE: run["lr"], BATCH_SIZE: run["batch_size"], EPOCHS: run["epochs"]}
    return Recorded(values, marks, num_examples, int(stable), float(points[-1]["truth_accuracy"]))
