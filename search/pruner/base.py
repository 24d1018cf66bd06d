"""When to stop a trial early, comparing only comparable values.

What is compared (`compare`) and from when on (`min_fraction`, `min_finished`) are settings that all
comparing pruners share; `search.pruner.progress` reads the values, and a pruner says by them alone
which trials end. `docs/search.md` has the measurements.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lightning_modules.error import Problem
from lightning_modules.schema import Schema, positive, within
from search.pruner.guessing import has_left_guessing
from search.pruner.progress import LOSS, METRIC, Axis, Progress, rival_values

AUTO = "auto"
"""Stands for what chooses the best trial; a study's plan replaces it."""


@dataclass(frozen=True, kw_only=True)
class Pruner(Schema):
    """The base class of pruners; this one never prunes."""

    def reason_to_stop(
        self, trial: Progress, number: int, others: Iterable[Progress], num_finished: int
    ) -> str | None:
        """Return why the trial should end now, or None.

        Args:
            trial: The trial; its last validation is new.
            number: The number of that validation, from 1.
            others: All other trials that were validated.
            num_finished: Finished trials.

        """
        return None


@dataclass(frozen=True, kw_only=True)
class ComparingPruner(Pruner):
    """A pruner that ends a trial that is behind others.

    The best value so far is compared, as the best validation of a run is what it is worth.

    Attributes:
        compare: What is compared: `validation_loss`, `metric` (the study's first objective),
            validation metrics of the task by name, or `auto`: the score that chooses the best trial
            (`search.select`), or loss and metric if the metric does. A trial must be behind in all
            of them.
        min_fraction: No trial ends before it has done this share of its run, in [0, 1). In a
            configuration, `auto` is the share that suits the strategy (`search.config.pruning`).
        min_finished: Trials that must finish before any is pruned, > 0.

    """

    compare: list[str]
    min_fraction: float
    min_finished: int

    def problems(self) -> Iterator[Problem]:
        if not self.compare:
            yield Problem("compare", "must name at least one", self.compare, f"Set [{LOSS}].")
        yield from within(self, 0, 1, "min_fraction")
        yield from positive(self, "min_finished")

    def reason_to_stop(
        self, trial: Progress, number: int, others: Iterable[Progress], num_finished: int
    ) -> str | None:
        if num_finished < self.min_finished or not trial.number or not trial.curve:
            return None
        if not self.judges(trial, number):
            return None
        if trial.fraction is not None and not self.min_fraction <= trial.fraction < 1:
            return None
        names = [name for name in self.compare if name in trial.curve[-1].values] or [METRIC]
        return self.reason(trial, list(others), names)

    def judges(self, trial: Progress, number: int) -> bool:
        """Return whether a trial can end after its last validation, which is `number`, from 1."""
        return True

    @abstractmethod
    def reason(
        self, trial: Progress, others: Sequence[Progress], names: Sequence[str]
    ) -> str | None:
        """Return why the trial should end, behind in all that is named, or None."""


@dataclass(frozen=True, kw_only=True)
class RankingPruner(ComparingPruner):
    """A pruner that ends a trial for its place among the others after as much training.

    Attributes:
        at_equal: After as many steps, examples or epochs, or at the same fraction of the run.

    """

    at_equal: Axis

    def reason(
        self, trial: Progress, others: Sequence[Progress], names: Sequence[str]
    ) -> str | None:
        axis = self.at_equal if self.at_equal.position(trial) is not None else Axis.steps
        verdicts, num_here = dict[str, str](), 0
        for name in names:
            rivals = rival_values(trial, others, name, axis)
            value, num_here = trial.best(name)[-1], len(rivals) + 1
            verdict = self.verdict(value, rivals)
            if verdict is None or not has_left_guessing((value, *rivals), others, name):
                return None
            verdicts[f"by {name.replace('_', ' ')}"] = verdict
        return f"{_joined(verdicts)} {axis.words(trial)}{self.consequence(num_here)}"

    @abstractmethod
    def verdict(self, value: float, rivals: Sequence[float]) -> str | None:
        """Return in words how far a trial is behind if it should end, or None.

        Args:
            value: The trial's best value so far; larger is better.
            rivals: Those of the other trials after as much training.

        """

    def consequence(self, num_here: int) -> str:
        """Return what follows for the trials compared, to be put after the verdict."""
        return ""


def _joined(verdicts: Mapping[str, str]) -> str:
    """Return verdicts by what was compared in one phrase.

    >>> _joined({"by loss": "ranked 3 of 4", "by metric": "ranked 2 of 4"})
    'ranked 3 of 4 by loss and ranked 2 of 4 by metric'
    >>> _joined({"by loss": "ranked 3 of 4", "by metric": "ranked 3 of 4"})
    'ranked 3 of 4 by loss and by metric'
    """
    texts = set(verdicts.values())
    if len(texts) == 1:
        return f"{texts.pop()} {' and '.join(verdicts)}"
    return " and ".join(f"{verdict} {name}" for name, verdict in verdicts.items())
