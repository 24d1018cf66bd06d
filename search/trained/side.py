"""One side of a certificate: a configuration, its runs over seeds or splits, and their scores.

Of a run that is scored on the test rows, the score is what a look at them has stored
(`search.trained.certify`); on validation rows or splits, it is what the run itself left behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from lightning_modules.outcome import RowScores
from lightning_modules.rows.corpus import Corpus
from search.certificate.certificate import Certified, Rows
from search.plan.certify import fresh_of, rows_of
from search.storage.attribute import METRICS, ROW_SCORES, SECONDS, broken_guards
from search.study.certify import certifying_study
from search.study.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

UNSPLIT: Mapping[str, Any] = {"parts": None}
"""Stored of a run whose score cannot be split by rows, so that no other look follows."""


@dataclass(frozen=True)
class Side:
    """A configuration that is compared, with the runs that certify it.

    Attributes:
        study: The study that it is from.
        trial: Its trial there.
        certifying: The study of its runs.
        runs: Its runs that have ended, by seed or split.
        num_queued: How many runs it will have.

    """

    study: Study
    trial: FrozenTrial
    certifying: Study
    runs: Mapping[int, FrozenTrial]
    num_queued: int

    @classmethod
    def of(cls, study: Study, trial: FrozenTrial) -> Side | None:
        """Return a trial with its runs; None if no run was ever queued in its study."""
        certifying = certifying_study(study)
        if certifying is None:
            return None
        path, own, runs = fresh_of(study.plan).path, study.params_of(trial), {}
        own.pop(path, None)  # a seed that is searched
        num_queued = 0
        for run in certifying.trials:
            values = certifying.params_of(run)
            seed = values.pop(path, None)
            if values == own:
                num_queued += 1
                if run.state.is_finished():
                    runs[int(seed)] = run
        return cls(study, trial, certifying, dict(sorted(runs.items())), num_queued)

    @property
    def with_result(self) -> dict[int, FrozenTrial]:
        """The runs that have finished and broken no guard, by seed."""
        return {seed: run for seed, run in self.runs.items() if has_result(run)}

    @property
    def comparable(self) -> dict[int, FrozenTrial]:
        """Those of them whose metric can be split by rows, as far as that is known."""
        known = self.certifying.scored
        unsplit = {number for number, scored in known.items() if scored == UNSPLIT}
        return {
            seed: run
            for seed, run in self.with_result.items()
            if run.system_attrs.get(ROW_SCORES) is not None and run.number not in unsplit
        }

    @property
    def num_needed(self) -> int:
        """How many runs with a result a certificate needs at least."""
        return 1 if self.is_exact else 2

    @property
    def is_default(self) -> bool:
        """Whether it is the default configuration of its study."""
        default = self.study.ranking.default
        return default is not None and default.number == self.trial.number

    @property
    def is_exact(self) -> bool:
        """Whether every seed gives the same model, because nothing is trained."""
        return not self.study.plan.trains(self.study.params_of(self.trial))

    def certified(self, scored: Mapping[int, Scored], seeds: Sequence[int]) -> Certified:
        """Return what its runs came to.

        Args:
            scored: What its runs scored, by seed.
            seeds: Those that are compared.

        """
        study, metric = self.study, self.study.plan.default.task.metric
        same = study.ranking.by_seed(self.trial).values() or [self.trial]
        return Certified(
            study=study.plan.name,
            trial=self.trial.number,
            is_default=self.is_default,
            params=study.params_of(self.trial),
            searched=fmean(each.user_attrs[METRICS][metric] for each in same),
            seeds=tuple(seeds),
            scores=tuple(scored[seed].score for seed in seeds),
            validation=tuple(self.runs[seed].user_attrs[METRICS][metric] for seed in seeds),
            runs=tuple(self.runs[seed].number for seed in seeds),
            num_failed=len(self.runs) - len(self.with_result),
            seconds=sum(float(run.user_attrs.get(SECONDS, 0)) for run in self.runs.values()),
        )


@dataclass(frozen=True)
class Scored:
    """What a run scored on the rows of a certificate.

    Attributes:
        score: The metric.
        parts: What each row, or group of rows, contributes to it.
        num_rows: How many rows there were.

    """

    score: float
    parts: RowScores
    num_rows: int

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for the storage."""
        return {"score": self.score, "parts": self.parts.as_dict(), "num_rows": self.num_rows}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Scored:
        """Return it from the values of `as_dict`."""
        parts = RowScores.from_dict(values["parts"])
        return cls(float(values["score"]), parts, int(values["num_rows"]))


def scores_of(side: Side, corpus: Corpus) -> dict[int, Scored]:
    """Return what the runs of a configuration scored, by seed, as far as it is known."""
    if rows_of(side.study.plan) is Rows.test:
        known = side.certifying.scored
        return {
            seed: Scored.from_dict(known[run.number])
            for seed, run in side.comparable.items()
            if run.number in known
        }
    metric, num_rows = side.study.plan.default.task.metric, len(corpus.splits["validation"])
    return {
        seed: Scored(
            run.user_attrs[METRICS][metric],
            RowScores.from_dict(run.system_attrs[ROW_SCORES]),
            num_rows,
        )
        for seed, run in side.comparable.items()
    }


def has_result(run: FrozenTrial) -> bool:
    """Return whether a run has finished and broken no guard."""
    return run.state.name == "COMPLETE" and not broken_guards(run.system_attrs)
