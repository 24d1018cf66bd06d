"""All that a report says about a study, taken at one moment: values, without a storage behind them.

`overview_of` is the only part of a report that reads the study and its files; the sections of
`search.report.document` are made of what it returns.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.folder import OUTCOME_FILE, read_records, table_file
from lightning_modules.outcome import RowScores
from lightning_modules.task.base import GENERATED, MISTAKES
from lightning_modules.task.metric.confusion import CONFUSION
from search.certificate.certificate import Certificate, verdict_on
from search.machine.provenance import PROVENANCE_FILE
from search.plan.objective import Objective
from search.report.gains import gains
from search.report.guard import broken_words, guard_lines
from search.report.influence import Influences, influences
from search.report.results import CHECK_FILE, STATES, compare_with_default, snapshot
from search.report.snapshot import Snapshot
from search.report.thin import MAX_SHOWN, NUM_BEST, evenly, thinned
from search.space.space import Space
from search.storage import attribute as keys
from search.storage.curve import StoredPoint, points_of
from search.storage.failure import FailedAttempt
from search.study.gain import Gain
from search.study.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

TABLES = (CONFUSION, MISTAKES, GENERATED)
"""The tables of a trial that a report shows."""


@dataclass(frozen=True)
class TrialView:
    """One trial.

    Attributes:
        number: Its number.
        state: `complete`, `pruned`, `fail`, `running` or `waiting`.
        arm: The options that it chose, e.g. `lora`; "" in a study with a single arm.
        values: Its settings by config path.
        objectives: Its value for each objective; None while it has none.
        metrics: Its scores at the best validation.
        curve: Its validations.
        gain: How much better it is than the default; None for the default, or if unknown.
        seconds: Training time over all attempts; None if it has not trained.
        memory_bytes: Peak memory; None if it was not measured.
        num_trainable: Trained parameters; None if unknown.
        worker: Who trained it last; None if nobody did.
        started: When its first attempt started; None if none did.
        ended: When it ended; None until it has.
        reason: How it ended, in words.
        verdict: Whether it over- or underfits, in words.
        failed: Its attempts that failed.
        is_dropped: Whether it was taken out of consideration.

    """

    number: int
    state: str
    arm: str
    values: Mapping[str, Any]
    objectives: tuple[float, ...] | None
    metrics: Mapping[str, float]
    curve: tuple[StoredPoint, ...]
    gain: Gain | None
    seconds: float | None
    memory_bytes: int | None
    num_trainable: int | None
    worker: str | None
    started: datetime | None
    ended: datetime | None
    reason: str | None
    verdict: str | None
    failed: tuple[FailedAttempt, ...]
    is_dropped: bool

    @property
    def is_finished(self) -> bool:
        """Whether it has a result that counts."""
        return self.objectives is not None and not self.is_dropped


@dataclass(frozen=True)
class Overview:
    """A study at one moment.

    Attributes:
        now: Its state as the live table shows it.
        taken: When this was taken.
        objectives: What it optimizes.
        space: What varies.
        trials: Its trials, by number.
        best: The number of the winner; None before there is one.
        default: The number of the unmodified configuration's trial; None until it has finished.
        gain: The winner's gain over the default; None if there is nothing to compare with.
        front: The numbers of the trials on the Pareto front, or of the winner.
        ranked: The numbers of the finished trials, best first.
        chosen_by: The metrics by which the winner was chosen, each on a tie of those before.
        is_cautious: Whether another trial had to be better than the default by more than its noise.
        keeps_default: Whether one scored better than the default, but within its noise.
        is_asked: Whether a loop of the caller's own trains, whose curves are by its own steps.
        is_over: Whether no trial will start or restart.
        command: The shell command that repeats the winner; None if there is none.
        config: The winner's whole configuration as YAML; "" if there is none.
        folder: The study's folder.
        tables: The task's tables of the winner and of the default, by trial and by table.
        guards: What guards say, in sentences.
        findings: What was found in the rows, by name: a line, and whether it is a fault.
        provenance: Versions, machine, commit and seed.
        hardware: What the winner trained on, in words; None if unknown.
        words: The words that its configuration is composed of.
        arms: The arms in their order; one empty name if there is a single one.
        certificates: The verdicts by fresh runs, on the winner at that time and on others.
        row_scores: What each group of validation rows contributes to the winner's score.
        influences: How much each setting matters.
        max_shown: How many trials charts and tables show.

    """

    now: Snapshot
    taken: datetime
    objectives: tuple[Objective, ...]
    space: Space
    trials: tuple[TrialView, ...]
    best: int | None
    default: int | None
    gain: Gain | None
    front: frozenset[int]
    ranked: tuple[int, ...]
    chosen_by: tuple[str, ...]
    is_cautious: bool
    keeps_default: bool
    is_asked: bool
    is_over: bool
    command: str | None
    config: str
    folder: Path
    tables: Mapping[int, Mapping[str, Sequence[Mapping[str, Any]]]] = field(default_factory=dict)
    guards: tuple[str, ...] = ()
    findings: Mapping[str, tuple[str, bool]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    hardware: str | None = None
    words: tuple[str, ...] = ()
    arms: tuple[str, ...] = ("",)
    certificates: tuple[Certificate, ...] = ()
    row_scores: RowScores | None = None
    influences: Influences = field(default_factory=Influences)
    max_shown: int = MAX_SHOWN

    @property
    def name(self) -> str:
        """The study's name."""
        return self.now.study

    @property
    def metric(self) -> str:
        """The name of the first objective."""
        return self.objectives[0].short

    @property
    def winner(self) -> TrialView | None:
        """The winner; None before there is one."""
        return None if self.best is None else self.trials[self.best]

    @cached_property
    def finished(self) -> tuple[TrialView, ...]:
        """The trials with a result that counts, by number."""
        return tuple(trial for trial in self.trials if trial.is_finished)

    @cached_property
    def pruned(self) -> tuple[TrialView, ...]:
        """The trials that ended early, by number."""
        return tuple(trial for trial in self.trials if trial.state == "pruned")

    @cached_property
    def best_so_far(self) -> Mapping[int, float]:
        """The best first objective up to each finished trial, by number."""
        values = [trial.objectives[0] for trial in self.finished if trial.objectives is not None]
        best = accumulate(values, max if self.objectives[0].sign == 1 else min)
        return dict(zip((trial.number for trial in self.finished), best, strict=True))

    @cached_property
    def shown(self) -> frozenset[int]:
        """The numbers of the trials that charts and tables show: all, or `max_shown` of them.

        These are the winner, the default, the best ones, the Pareto front, those that were the best
        so far, each at most a quarter, and the others evenly.
        """
        first = [number for number in (self.best, self.default) if number is not None]
        part = self.max_shown // 4
        front = sorted(self.front, key=lambda number: self.trials[number].objectives or ())
        along = [*evenly(front, part), *evenly(self.steps, part)]
        kept = [*first, *self.ranked[: self.num_best], *along]
        return thinned([trial.number for trial in self.trials], kept, self.max_shown)

    @property
    def num_best(self) -> int:
        """How many of the best trials charts and tables show in any case."""
        return min(NUM_BEST, self.max_shown // 4)

    @cached_property
    def steps(self) -> tuple[int, ...]:
        """The numbers of the trials that were the best so far."""
        before = [None, *self.best_so_far.values()]
        values = zip(self.best_so_far.items(), before, strict=False)
        return tuple(number for (number, value), old in values if value != old)

    @property
    def is_thinned(self) -> bool:
        """Whether charts and tables do not show all trials."""
        return len(self.shown) < len(self.trials)

    def shown_of(self, trials: Iterable[TrialView]) -> list[TrialView]:
        """Return those of the trials that charts and tables show."""
        return [trial for trial in trials if trial.number in self.shown]

    @property
    def certificate(self) -> Certificate | None:
        """The verdict on the winner; None if there is none, or if another trial has won since."""
        return verdict_on(self.certificates, self.name, self.best)

    @property
    def seconds(self) -> float:
        """Training time over all trials."""
        return math.fsum(trial.seconds or 0.0 for trial in self.trials)

    def score(self, trial: TrialView) -> float | None:
        """Return a trial's first objective, or its last validation's if it has ended early."""
        if trial.objectives is not None:
            return trial.objectives[0]
        return trial.curve[-1].metrics.get(self.metric) if trial.curve else None


def overview_of(study: Study, command: str | None = None, config: str = "") -> Overview:
    """Return what a report says about a study now.

    Args:
        study: The study.
        command: The shell command that repeats its winner, if there is one.
        config: The winner's configuration as YAML.

    """
    plan, ranking, comparison = study.plan, study.ranking, compare_with_default(study)
    over_default, dropped = gains(study), study.dropped
    best = ranking.best
    default = ranking.default
    shown = {trial.number: trial for trial in (best, default) if trial is not None}
    provenance = _read_json(study.folder / PROVENANCE_FILE)
    found = _read_json(study.folder / CHECK_FILE).get("findings", {})
    return Overview(
        now=snapshot(study),
        taken=datetime.now(),
        objectives=plan.objectives,
        space=plan.space,
        trials=tuple(_view(study, each, over_default, dropped) for each in study.trials),
        best=None if best is None else best.number,
        default=None if default is None else default.number,
        gain=None if comparison is None else comparison.gain,
        front=ranking.front,
        ranked=tuple(trial.number for trial in ranking.trials),
        chosen_by=ranking.chosen_by,
        is_cautious=ranking.is_cautious,
        keeps_default=ranking.keeps_default,
        is_asked=plan.is_asked,
        is_over=study.is_over,
        command=command,
        config=config,
        folder=study.folder,
        tables={number: _tables(study, trial) for number, trial in shown.items()},
        guards=tuple(guard_lines(study)),
        findings={name: (each["line"], bool(each["is_fault"])) for name, each in found.items()},
        provenance=provenance,
        hardware=None if best is None else _hardware(study, best),
        words=tuple(plan.composition.words),
        arms=tuple(" ".join(options) for options in plan.space.arms),
        certificates=study.certificates,
        row_scores=_row_scores(best),
        influences=influences(study),
    )


def _view(
    study: Study, trial: FrozenTrial, over_default: Mapping[int, Gain], dropped: frozenset[int]
) -> TrialView:
    attributes, state = trial.user_attrs, trial.state.name.lower()
    assert state in STATES
    values = study.params_of(trial)
    groups = study.plan.space.groups
    reason = attributes.get(keys.REASON)
    if broken := broken_words(trial):
        reason = f"{broken}; {reason}"
    return TrialView(
        number=trial.number,
        state=state,
        arm=" ".join(str(values[group]) for group in groups if group in values),
        values=values,
        objectives=tuple(trial.values) if state == "complete" else None,
        metrics=attributes.get(keys.METRICS, {}),
        curve=_curve(trial, study.plan.objectives[0].short),
        gain=over_default.get(trial.number),
        seconds=_seconds(attributes),
        memory_bytes=attributes.get(keys.MEMORY) or None,
        num_trainable=attributes.get(keys.TRAINABLE),
        worker=attributes.get(keys.WORKER),
        started=trial.datetime_start,
        ended=trial.datetime_complete,
        reason=reason,
        verdict=attributes.get(keys.VERDICT),
        failed=tuple(map(FailedAttempt.from_dict, attributes.get(keys.ATTEMPTS, ()))),
        is_dropped=trial.number in dropped,
    )


def _row_scores(trial: FrozenTrial | None) -> RowScores | None:
    kept = None if trial is None else trial.system_attrs.get(keys.ROW_SCORES)
    return None if kept is None else RowScores.from_dict(kept)


def _curve(trial: FrozenTrial, metric: str) -> tuple[StoredPoint, ...]:
    stored = trial.system_attrs.get(keys.CURVE)
    if stored is not None:
        return tuple(points_of(stored))
    values = sorted(trial.intermediate_values.items())  # all that an earlier version stored
    return tuple(
        StoredPoint(at, at, float(at), math.nan, math.nan, {metric: value}) for at, value in values
    )


def _seconds(attributes: Mapping[str, Any]) -> float | None:
    seconds = attributes.get(keys.SECONDS)
    if seconds is None and keys.PROGRESS in attributes:
        seconds = attributes[keys.PROGRESS][0]
    return None if seconds is None else float(seconds)


def _tables(study: Study, trial: FrozenTrial) -> dict[str, list[dict[str, Any]]]:
    if keys.FOLDER not in trial.user_attrs:
        return {}
    paths = {name: study.folder_of(trial) / table_file(name) for name in TABLES}
    return {name: read_records(path) for name, path in paths.items() if path.is_file()}


def _hardware(study: Study, trial: FrozenTrial) -> str | None:
    if keys.FOLDER not in trial.user_attrs:
        return None
    hardware: str | None = _read_json(study.folder_of(trial) / OUTCOME_FILE).get("hardware")
    return hardware


def _read_json(path: Path) -> dict[str, Any]:
    """Return an object in a file; empty if another machine has the file, or nobody."""
    if not path.is_file():
        return {}
    values = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(values, dict)
    return values
