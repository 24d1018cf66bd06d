"""A study for a loop of the caller's own, which trains the trials: ask, report, tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.report import results
from search.study.ask import as_count, as_numbers, as_step, ask
from search.study.report import report
from search.study.study import Study
from search.study.tell import Curve, Result, Told, result_of, tell


@dataclass(frozen=True)
class Trial:
    """A trial that was asked for.

    Attributes:
        number: Its number.
        params: Its settings, by config path or name.
        folder: A folder of its own, with the files that an earlier attempt left there.
        attempt: 1 for the first; a trial whose lease was over is asked for again.
        notes: Messages on how it starts, e.g. how an earlier attempt ended.

    """

    number: int
    params: Mapping[str, Any]
    folder: Path
    attempt: int = 1
    notes: tuple[str, ...] = ()


def tell_and_write(study: Study, number: int, attempt: int, result: Result) -> Told:
    """Tell the end of a trial, and write `trials.csv`."""
    told = tell(study, number, result, attempt)
    num_written = -1
    while num_written != study.num_ended:  # another loop told one meanwhile
        num_written = study.num_ended
        results.write_table(study)
    return told


class Loop:
    """What a loop does with a study. It remembers the attempts that it asked for."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._asked: dict[int, int] = {}

    def ask(self) -> Trial | None:
        """Return the next trial for a loop of your own; None if none is left for now.

        It is yours for `search.ask_hours` after the last report; then others get it, and what you
        tell is refused. None may be followed by a trial while others are not told yet.

        Raises:
            UserError: The study was not started with `ask_tell=True`.

        """
        attempt = ask(self._study)
        if attempt is None:
            return None
        self._asked[attempt.number] = attempt.attempt
        params = dict(attempt.values)
        return Trial(attempt.number, params, attempt.folder, attempt.attempt, attempt.notes)

    def tell(
        self,
        number: int,
        value: float | None = None,
        *,
        metrics: Mapping[str, float] | None = None,
        curve: Curve | None = None,
        reason: str | None = None,
        ending: str | None = None,
        seconds: float | None = None,
        attempt: int | None = None,
    ) -> str:
        """Tell the end of a trial that was asked for; return how it ended, e.g. `finished`.

        A trial that `report` advised to stop is pruned, even if a value is given.

        Args:
            number: The trial's number.
            value: What the study optimizes; NaN and infinity are refused.
            metrics: Other results, by name.
            curve: What was measured on the way, if it was not reported: by step, or in order for
                the steps 1, 2, ...; each a number, or several by name as in `report`.
            reason: Why there is no value, or a remark.
            ending: `finished`, `pruned`, `diverged`, `infeasible`; or `failed` and `interrupted`,
                after which the trial is tried again. By default a trial without a value is
                `infeasible`: the sampler learns that its settings do not work.
            seconds: How long it trained; by default since it was asked for.
            attempt: The attempt, if this object has not asked for it; 1 by default.

        Raises:
            UserError: The result cannot be used, or the trial is no longer yours.

        """
        objective = self._study.plan.objectives[0].short
        result = result_of(objective, value, metrics, curve, reason, ending, seconds)
        told = tell_and_write(self._study, *self._named(number, attempt), result)
        return told.ending.value

    def report(
        self,
        number: int,
        step: int,
        loss: float | None = None,
        *,
        attempt: int | None = None,
        **metrics: float,
    ) -> str | None:
        """Report on a trial that was asked for; return why it should stop, or None.

        Args:
            number: The trial's number.
            step: How far it is, in any unit that all trials share; it must not fall.
            loss: The validation loss, which the pruner compares; NaN is a reason to stop.
            attempt: As for `tell`.
            metrics: Other measurements by name; without a loss, the pruner compares the one that
                the study optimizes.

        Raises:
            UserError: The report cannot be used, or the trial is no longer yours.

        """
        values = as_numbers("report", metrics if loss is None else {"loss": loss, **metrics})
        at, (trial, attempt) = as_step("step", step), self._named(number, attempt)
        advice = report(self._study, trial, at, values, attempt)
        return None if advice is None else advice.reason

    def _named(self, number: int, attempt: int | None) -> tuple[int, int]:
        """Return the numbers of a trial and of its attempt."""
        trial = as_count("trial", number)
        return trial, self._asked.get(trial, 1) if attempt is None else as_count("attempt", attempt)
