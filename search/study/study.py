"""A study: the queue of trials, and the only place where a trial changes its state.

Optuna's storage is the queue; there is no coordinator to lose. A trial waits, runs and ends
under one number; an interrupted one waits again. Numbers have no gaps, so the budget is exact
with any number of workers: a trial belongs to it if its number is below `num_trials`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.outcome import Ending, Outcome, Point
from search.machine.process import Process
from search.plan.plan import Plan
from search.pruner.base import Progress
from search.space.key import renewed_key
from search.storage import transaction
from search.storage.attribute import (
    BEST_EPOCH,
    CHECKPOINT,
    DATA,
    ENDING,
    FOLDER,
    ID,
    KEY,
    LENGTH,
    MEMORY,
    METRICS,
    PROGRESS,
    REASON,
    SECONDS,
    STOP,
    THREADS,
    TRAINABLE,
    VALUES,
    VERDICT,
    WORKER,
)
from search.storage.failure import Fault
from search.storage.lease import Lease, gone_workers, present_workers, used_seconds
from search.storage.retry import StorageGone
from search.storage.transaction import Fall
from search.study.attempt import Attempt, inside, tidy, where_is
from search.study.start import begin
from search.study.suggest import settle, waiting_trial

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from search.storage.tables import StudyStorage


class Study:
    """An open study; `create_or_update` and `load_study` return one."""

    def __init__(
        self, plan: Plan, folder: Path, study: optuna.Study, storage: StudyStorage
    ) -> None:
        self.plan = plan
        self.folder = folder
        self.lease: Lease | None = None
        self._study = study
        self._storage = study._storage  # Optuna's cache in front of ...
        self._tables = storage
        self._id = study._study_id

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
            self._storage.set_study_system_attr(self._id, STOP, stop)

    def values_of(self, trial: FrozenTrial) -> dict[str, Any]:
        """Return what a trial varied, by config path."""
        if VALUES in trial.user_attrs:
            return dict(trial.user_attrs[VALUES])
        fixed = trial.system_attrs.get("fixed_params", {})
        return self.plan.space.values_of({**fixed, **trial.params})

    def folder_of(self, trial: FrozenTrial) -> Path:
        """Return the folder of the trial's last attempt."""
        return inside(self.folder, str(trial.user_attrs[FOLDER]))

    def join(self, supervisor: Process | None = None) -> Lease:
        """Become a worker of the study: from here on it may take attempts.

        Should others take it for dead, everything it asks of the study raises LeaseLost from then
        on; it can open the study anew.
        """
        assert self.lease is None
        seconds = self.plan.search.settings.lease_seconds
        lease = Lease(self._tables.url, self._id, seconds, supervisor)
        self._tables.patience(lease.join)
        lease.fence(self._tables.engine)
        self.lease = lease
        return lease

    def set_busy(self, is_busy: bool) -> None:
        """Count the time of this worker as training from here on, or no more."""
        assert self.lease is not None
        lease = self.lease
        self._tables.patience(lambda: lease.set_busy(is_busy))

    def leave(self, reason: str) -> None:
        """Be a worker no more; what is left undone has been handed back."""
        assert self.lease is not None
        lease = self.lease
        with suppress(StorageGone):  # the lease will run out
            self._tables.patience(lambda: lease.leave(reason))
        self._tables.engine.dispose()

    def queue_first(self) -> None:
        """Put what the plan tries first into the queue, each once, as far as the budget goes."""
        templates = [waiting_trial(self.plan.space, values) for values in self.plan.first]
        self._add(templates)

    def _add(self, templates: Sequence[FrozenTrial]) -> int:
        return transaction.add_trials(self._tables, self._id, self.plan.num_trials, templates)

    def heal(self) -> list[Fall]:
        """Give the trials of workers that are gone back to the queue; return their falls."""
        engine, falls = self._tables.engine, list[Fall]()

        def look() -> list[tuple[str, str, float]]:
            with engine.begin() as connection:
                return list(gone_workers(connection, self._id))

        for worker, reason, renewed in self._tables.patience(look):
            falls += self.end_worker(worker, Fault.lost, reason, renewed)
        return falls + self._give_back_orphans()

    def end_worker(
        self, worker: str, fault: Fault, reason: str, renewed: float | None = None
    ) -> list[Fall]:
        """End another worker, which is gone, and its attempts."""
        tables, max_attempts = self._tables, self.plan.search.settings.max_attempts
        return list(transaction.end_worker(tables, worker, fault, reason, max_attempts, renewed))

    def _give_back_orphans(self) -> list[Fall]:
        """Give back the running trials of workers that have left, or of nobody."""
        running = [trial for trial in self.trials if trial.state.name == "RUNNING"]
        if not running:
            return []
        tables, max_attempts = self._tables, self.plan.search.settings.max_attempts

        def look() -> frozenset[str]:
            with tables.engine.begin() as connection:
                return present_workers(connection, self._id)

        present = tables.patience(look)
        falls = []
        for trial in running:
            worker = trial.user_attrs.get(WORKER)
            if worker not in present:
                reason = "its worker has left it"
                falls.append(
                    transaction.hand_back(
                        tables, trial._trial_id, worker, Fault.lost, reason, max_attempts
                    )
                )
        return [fall for fall in falls if fall is not None]

    @property
    def is_over(self) -> bool:
        """Whether no trial begins any more, or again."""
        return self.is_stopping or self.hours_used_up or self.num_ended >= self.plan.num_trials

    def next_attempt(self) -> Attempt | None:
        """Claim the next trial for this worker; None when there is none now.

        As long as the study is not over, others have the rest, and one may come back.
        """
        assert self.lease is not None, "only one who has joined can train"
        while not (self.is_stopping or self.hours_used_up):
            for trial in self.trials:
                is_waiting = trial.state.name == "WAITING"
                if is_waiting and transaction.claim(self._tables, trial._trial_id, self.lease.name):
                    return self._begin(trial.number)
            template = waiting_trial(self.plan.space, {})
            num_added = transaction.add_trials(
                self._tables, self._id, self.plan.num_trials, [template]
            )
            if not num_added and not self.heal():
                return None
        return None

    def began(self, attempt: Attempt, num_examples: int, stable_examples: int) -> None:
        """Store how long the attempt's run is."""
        self._set(attempt, {LENGTH: [num_examples, stable_examples]})

    def saved(self, attempt: Attempt, step: int) -> None:
        """Store that the attempt can go on from `step`."""
        where = where_is(attempt.folder)
        self._set(attempt, {CHECKPOINT: {"attempt": attempt.attempt, "step": step, "where": where}})

    def progress(self, attempt: Attempt, point: Point) -> str | None:
        """Store a validation; return a reason to prune the trial, or None."""
        from optuna.trial import TrialState

        trial = self.trial(attempt.number)
        if point.examples not in trial.intermediate_values:
            value = point.metrics[self.plan.default.task.metric]
            self._storage.set_trial_intermediate_value(trial._trial_id, point.examples, value)
            self._set(attempt, {PROGRESS: [round(point.seconds, 3), time.time()]})
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
        """Store how an attempt that ended by itself ended; its trial is over."""
        from optuna.trial import TrialState

        assert outcome.ending is not Ending.interrupted, "that one is handed back"
        self._set(
            attempt,
            {
                ENDING: outcome.ending.value,
                REASON: outcome.reason,
                THREADS: outcome.num_threads,
                TRAINABLE: outcome.num_trainable,
                VERDICT: outcome.verdict,
                METRICS: dict(outcome.best.metrics) if outcome.best else {},
                BEST_EPOCH: outcome.best.epoch if outcome.best else None,
                SECONDS: round(outcome.seconds, 3),
                MEMORY: outcome.memory_bytes,
            },
        )
        if outcome.ending is Ending.finished:
            values = [objective.value(outcome) for objective in self.plan.objectives]
            assert all(map(math.isfinite, values)), "a score that is no number is no result"
            self._study.tell(attempt.number, values)
        else:
            if outcome.ending in (Ending.diverged, Ending.infeasible):
                # A violated constraint teaches the sampler; a failure it would not see.
                name = f"constraints:{outcome.ending.value}"
                self._storage.set_trial_system_attr(attempt.trial_id, name, 1.0)
            self._study.tell(attempt.number, state=TrialState.PRUNED)
        self._tidy()

    def hand_back(self, attempt: Attempt, fault: Fault, reason: str, seconds: float | None) -> Fall:
        """End an attempt that others may follow; return what becomes of its trial."""
        assert self.lease is not None
        if seconds is not None:
            self._set(attempt, {SECONDS: round(seconds, 3)})
        worker, max_attempts = self.lease.name, self.plan.search.settings.max_attempts
        fall = transaction.hand_back(
            self._tables, attempt.trial_id, worker, fault, reason, max_attempts
        )
        if fall is None:  # a try of ours whose answer was lost
            fall = Fall(attempt.number, attempt.attempt, reason)
        if fall.ending is not None:
            self._tidy()
        return fall

    def _begin(self, number: int) -> Attempt:
        trial = self.trial(number)  # others may have had it before it was claimed
        values = trial.user_attrs.get(VALUES)
        if values is None:
            taken = {renewed_key(t.system_attrs[KEY]) for t in self.trials if KEY in t.system_attrs}
            values = settle(self._study, self._tables, trial, self.plan, taken)
        study_id = str(self._attributes.get(ID))
        return begin(self._tables, self.plan, self.folder, study_id, trial, dict(values))

    def _in_budget(self, trial: FrozenTrial) -> bool:
        return trial.number < self.plan.num_trials

    @property
    def seconds_left(self) -> tuple[float, int] | None:
        """The training time that is left of `search.max_hours`, and how many workers use it.

        None where there is no limit.
        """
        max_hours = self.plan.search.settings.max_hours
        if max_hours is None:
            return None

        def look() -> tuple[float, int]:
            with self._tables.engine.begin() as connection:
                return used_seconds(connection, self._id)

        used, num_busy = self._tables.patience(look)
        return max_hours * 3600 - used, num_busy

    @property
    def hours_used_up(self) -> bool:
        """Whether `search.max_hours` of training are over."""
        left = self.seconds_left
        return left is not None and left[0] <= 0

    @property
    def _attributes(self) -> Mapping[str, Any]:
        attributes: Mapping[str, Any] = self._storage.get_study_system_attrs(self._id)
        return attributes

    def trial(self, number: int) -> FrozenTrial:
        """Return the trial of that number as it stands now."""
        return self._study.get_trials(deepcopy=False)[number]

    def _set(self, attempt: Attempt, values: Mapping[str, Any]) -> None:
        transaction.set_attributes(self._tables, attempt.trial_id, values)

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
        kept = self.front | {t.number for t in self.ranking[: self.plan.search.settings.keep]}
        for trial in self.trials:
            if trial.state.is_finished() and FOLDER in trial.user_attrs:
                tidy(self.folder_of(trial), keep_best=trial.number in kept)
