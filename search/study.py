"""A study: the queue of trials, and the only place where a trial changes its state.

Optuna's storage is the queue; there is no coordinator to lose. A trial waits, runs and ends
under one number; an interrupted one waits again. Numbers have no gaps, so the budget is exact
with any number of workers: a trial belongs to it if its number is below `num_trials`.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.atomic import write_text
from lightning_modules.error import SpaceError
from lightning_modules.record import Ending, Outcome, Point
from lightning_modules.run import BEST_FILE, CHECKPOINT_FILE, OBSERVED_FILE
from search.config import Tree, resolved, to_yaml
from search.lease import Worker
from search.plan import Plan
from search.pruner.base import Progress
from search.space import Space
from search.storage import WORKER, claim, requeue

if TYPE_CHECKING:
    import optuna
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

DATABASE = "study.db"
CONFIG_FILE = "config.yaml"

# Optuna user attributes of a trial; stock dashboards show them.
VALUES = "values"  # of the default, where it lies outside the space
ATTEMPT = "attempt"
FOLDER = "folder"
ENDING = "ending"
REASON = "reason"
METRICS = "metrics"
BEST_EPOCH = "best_epoch"
SECONDS = "seconds"
PROGRESS = "progress"  # training seconds at the last validation, and the time of day then
THREADS = "threads"
TRAINABLE = "trainable_parameters"
VERDICT = "verdict"
LENGTH = "examples"  # in all, and up to where a longer run would be the same
# ... and system attributes of the study, which dashboards leave out.
PLAN = "finesweep.plan"
DATA = "finesweep.data"
STOP = "finesweep.stop"


@dataclass(frozen=True)
class Attempt:
    """One try at a trial.

    Attributes:
        number: The trial's number, the same over all attempts.
        attempt: 1 for the first.
        values: What the trial varies, by config path.
        folder: Where the attempt's files go.

    """

    number: int
    attempt: int
    values: Mapping[str, Any]
    folder: Path


class Study:
    """An open study; `create_or_update` and `load_study` return one."""

    def __init__(self, plan: Plan, folder: Path, study: optuna.Study, storage: RDBStorage) -> None:
        self.plan = plan
        self.folder = folder
        self._study = study
        self._storage = study._storage  # Optuna's cache in front of ...
        self._rdb = storage

    @property
    def optuna(self) -> optuna.Study:
        """The study as Optuna's own tools take it."""
        return self._study

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials of the budget, by number."""
        return [t for t in self._study.get_trials(deepcopy=False) if self._in_budget(t)]

    @property
    def data_fingerprint(self) -> str:
        """The fingerprint of the rows that the study began with."""
        return str(self._attributes[DATA])

    @property
    def num_ended(self) -> int:
        """Trials of the budget that will not run again."""
        return sum(trial.state.is_finished() for trial in self.trials)

    @property
    def best(self) -> FrozenTrial | None:
        """The finished trial with the best first objective, the earliest of equals."""
        return next(iter(self.ranking), None)

    @property
    def front(self) -> frozenset[int]:
        """Numbers of the Pareto front; with one objective, the best trial's."""
        if len(self.plan.objectives) == 1:
            return frozenset() if self.best is None else frozenset({self.best.number})
        front = {trial.number for trial in self._study.best_trials}
        return frozenset(trial.number for trial in self.trials if trial.number in front)

    @property
    def is_stopping(self) -> bool:
        """Whether no trial shall begin any more, as `finesweep stop` asks."""
        return bool(self._attributes.get(STOP))

    def ask_to_stop(self, stop: bool) -> None:
        """Let no trial begin any more, or again."""
        if stop != self.is_stopping:
            self._storage.set_study_system_attr(self._study._study_id, STOP, stop)

    def values_of(self, trial: FrozenTrial) -> dict[str, Any]:
        """Return what a trial varied, by config path."""
        if VALUES in trial.user_attrs:
            return dict(trial.user_attrs[VALUES])
        fixed = trial.system_attrs.get("fixed_params", {})
        return self.plan.space.values_of({**fixed, **trial.params})

    def folder_of(self, trial: FrozenTrial) -> Path:
        """Return the folder of the trial's last attempt."""
        return self.folder / str(trial.user_attrs[FOLDER])

    def queue_first(self) -> None:
        """Put what the plan tries first into the queue, each once, as far as the budget goes."""
        trials = self._study.get_trials(deepcopy=False)
        queued = [_fixed(trial) for trial in trials]
        num_left = self.plan.num_trials - len(trials)
        for values in self.plan.first:
            template = waiting_trial(self.plan.space, values)
            if num_left > 0 and _fixed(template) not in queued:
                self._storage.create_new_trial(self._study._study_id, template_trial=template)
                num_left -= 1

    def requeue_dead(self) -> int:
        """Put trials of workers that are gone back into the queue; return how many."""
        from optuna.trial import TrialState

        num_requeued = 0
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            mark = str(trial.user_attrs.get(WORKER, ""))
            is_dead = not mark or not Worker.from_mark(mark).is_alive()
            if is_dead and requeue(self._rdb, trial._trial_id, mark):
                num_requeued += 1
        return num_requeued

    def next_attempt(self, worker: Worker) -> Attempt | None:
        """Claim the next trial for `worker`; None when the budget is used up."""
        from optuna.trial import TrialState

        while not self.hours_used_up and not self.is_stopping:
            trials = self.trials
            for trial in trials:
                is_waiting = trial.state is TrialState.WAITING
                if is_waiting and claim(self._rdb, trial._trial_id, worker.mark):
                    return self._begin(trial)
            if len(trials) < self.plan.num_trials:
                template = waiting_trial(self.plan.space, {})
                self._storage.create_new_trial(self._study._study_id, template_trial=template)
            elif not self.requeue_dead():
                return None
        return None

    def began(self, attempt: Attempt, num_examples: int, stable_examples: int) -> None:
        """Store how long the attempt's run is."""
        self._set(attempt.number, {LENGTH: [num_examples, stable_examples]})

    def progress(self, attempt: Attempt, point: Point) -> str | None:
        """Store a validation; return a reason to prune the trial, or None."""
        from optuna.trial import TrialState

        trial = self.trial(attempt.number)
        if point.examples not in trial.intermediate_values:
            value = point.metrics[self.plan.default.task.metric]
            self._storage.set_trial_intermediate_value(trial._trial_id, point.examples, value)
            self._set(attempt.number, {PROGRESS: [round(point.seconds, 3), time.time()]})
            trial = self.trial(attempt.number)
        if len(self.plan.objectives) > 1:
            return None  # what is worse in one may be on the front by another
        others = [other for other in self.trials if other.number != attempt.number]
        num_finished = sum(other.state is TrialState.COMPLETE for other in others)
        return self.plan.search.pruner.reason_to_stop(
            self._progress(trial),
            point.number,
            [self._progress(other) for other in others if LENGTH in other.user_attrs],
            num_finished,
        )

    def ended(self, attempt: Attempt, outcome: Outcome) -> None:
        """Store how an attempt ended; an interrupted one waits for the next."""
        from optuna.trial import TrialState

        self._set(
            attempt.number,
            {
                ENDING: outcome.ending.value,
                REASON: outcome.reason,
                SECONDS: round(outcome.seconds, 3),
                THREADS: outcome.num_threads,
                TRAINABLE: outcome.num_trainable,
                VERDICT: outcome.verdict,
                METRICS: dict(outcome.best.metrics) if outcome.best else {},
                BEST_EPOCH: outcome.best.epoch if outcome.best else None,
            },
        )
        trial = self.trial(attempt.number)
        if outcome.ending is Ending.interrupted:
            self.release(attempt)
        elif outcome.ending is Ending.finished:
            values = [objective.value(outcome) for objective in self.plan.objectives]
            assert all(map(math.isfinite, values)), "a score that is no number is no result"
            self._study.tell(attempt.number, values)
        else:
            if outcome.ending in (Ending.diverged, Ending.infeasible):
                # A violated constraint teaches the sampler; a failure it would not see.
                self._storage.set_trial_system_attr(trial._trial_id, "constraints:diverged", 1.0)
            self._study.tell(attempt.number, state=TrialState.PRUNED)
        self._tidy()

    def release(self, attempt: Attempt, reason: str | None = None) -> None:
        """Let the attempt's trial wait for its next one."""
        if reason is not None:
            self._set(attempt.number, {REASON: reason})
        trial = self.trial(attempt.number)
        requeue(self._rdb, trial._trial_id, str(trial.user_attrs[WORKER]))

    def failed(self, attempt: Attempt, reason: str) -> None:
        """Store that an attempt broke."""
        from optuna.trial import TrialState

        self._set(attempt.number, {ENDING: "failed", REASON: reason})
        self._study.tell(attempt.number, state=TrialState.FAIL)
        self._tidy()

    def _begin(self, trial: FrozenTrial) -> Attempt:
        import optuna

        if VALUES in trial.user_attrs:
            values = dict(trial.user_attrs[VALUES])
        else:
            values = self.plan.space.suggest(optuna.trial.Trial(self._study, trial._trial_id))
        attempt = int(trial.user_attrs.get(ATTEMPT, 0)) + 1
        relative = Path("trials") / f"{trial.number:04d}" / f"attempt-{attempt}"
        folder = self.folder / relative
        # What lies there is of another study, whose database is gone: its checkpoint must not be
        # taken for this trial's.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if FOLDER in trial.user_attrs:
            _take_over(self.folder_of(trial), folder)
        self._set(
            trial.number,
            {ATTEMPT: attempt, FOLDER: relative.as_posix(), ENDING: None, REASON: None},
        )
        tree = run_tree(self.plan.arm(values).tree, self.plan.settings_of(values))
        write_text(folder / CONFIG_FILE, to_yaml(tree))
        return Attempt(trial.number, attempt, values, folder)

    def _in_budget(self, trial: FrozenTrial) -> bool:
        return trial.number < self.plan.num_trials

    @property
    def hours_used_up(self) -> bool:
        """Whether `search.max_hours` of training are over."""
        max_hours = self.plan.search.settings.max_hours
        if max_hours is None:
            return False
        seconds = sum(float(trial.user_attrs.get(SECONDS, 0)) for trial in self.trials)
        return seconds >= max_hours * 3600

    @property
    def _attributes(self) -> Mapping[str, Any]:
        attributes: Mapping[str, Any] = self._storage.get_study_system_attrs(self._study._study_id)
        return attributes

    def trial(self, number: int) -> FrozenTrial:
        """Return the trial of that number as it stands now."""
        return self._study.get_trials(deepcopy=False)[number]

    def _set(self, number: int, values: Mapping[str, Any]) -> None:
        trial_id = self.trial(number)._trial_id
        for name, value in values.items():
            self._storage.set_trial_user_attr(trial_id, name, value)

    def _progress(self, trial: FrozenTrial) -> Progress:
        sign = self.plan.objectives[0].sign
        values = {step: sign * value for step, value in trial.intermediate_values.items()}
        num_examples, stable_examples = trial.user_attrs[LENGTH]
        return Progress(values, stable_examples, num_examples)

    @property
    def ranking(self) -> list[FrozenTrial]:
        """Return the finished trials, the best first objective first, then by the others."""
        signs = [objective.sign for objective in self.plan.objectives]

        def loss(trial: FrozenTrial) -> list[float]:
            return [-sign * value for sign, value in zip(signs, trial.values, strict=True)]

        finished = [trial for trial in self.trials if trial.state.name == "COMPLETE"]
        return sorted(finished, key=loss)  # stable: the earlier first of equals

    def _tidy(self) -> None:
        """Delete what ended trials need no more: checkpoints, and all weights but the best."""
        ended = [t for t in self.trials if t.state.is_finished() and FOLDER in t.user_attrs]
        best = self.ranking[: self.plan.search.settings.keep]
        kept = self.front | {trial.number for trial in best}
        for trial in ended:
            last = self.folder_of(trial)
            for path in last.parent.glob("*/*"):
                is_winners = trial.number in kept and path.parent == last
                is_of_best = path.name in (BEST_FILE, OBSERVED_FILE)
                if path.name == CHECKPOINT_FILE or (is_of_best and not is_winners):
                    path.unlink(missing_ok=True)


def waiting_trial(space: Space, values: Mapping[str, Any]) -> FrozenTrial:
    """Return a trial for the queue with these values, the rest to be sampled."""
    from optuna.trial import TrialState, create_trial

    try:
        fixed = space.params_of(values)
    except SpaceError:
        # Optuna refuses parameters outside their range, as a default may be.
        return create_trial(state=TrialState.WAITING, user_attrs={VALUES: dict(values)})
    attributes = {"fixed_params": fixed} if fixed else {}
    return create_trial(state=TrialState.WAITING, system_attrs=attributes)


def _fixed(trial: FrozenTrial) -> Any:
    return trial.user_attrs.get(VALUES) or trial.system_attrs.get("fixed_params")


def run_tree(tree: Tree, values: Mapping[str, Any]) -> Tree:
    """Return one trial's resolved configuration, without the search."""
    whole = resolved(tree, values)
    return {key: value for key, value in whole.items() if key not in ("search", "study")}


def _take_over(before: Path, folder: Path) -> None:
    """Give an attempt the files of the one before it; both keep their own from then on."""
    if before.is_dir() and before != folder:
        for path in before.iterdir():
            if path.is_file() and not path.name.startswith("."):
                shutil.copy2(path, folder / path.name)
