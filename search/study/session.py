"""A worker's session with a study: it claims trials and stores their results.

Every change by a session is fenced by its lease (`search.storage.lease`): once another process has
ended the lease, every call raises LeaseLost.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lightning_modules.machine.hardware import Device
from lightning_modules.outcome import Ending, Outcome, Point
from search.machine.gpu import gpus
from search.machine.process import Process
from search.plan.confirm import MAX_CANDIDATES, confirms
from search.storage import transaction
from search.storage.add import add_trials
from search.storage.attempt_end import AttemptEnd, hand_back
from search.storage.attribute import (
    ALONE,
    BEST_EPOCH,
    CHECKPOINT,
    CHOSEN_SCORES,
    ENDING,
    FOLDER,
    GRADIENT_NORM,
    GUARD,
    GUARDS,
    LENGTH,
    MEMORY,
    METRICS,
    MFU,
    PACKED,
    PLACE,
    PROGRESS,
    REASON,
    ROW_SCORES,
    SCORING,
    SECONDS,
    SPEED,
    THREADS,
    TRAINABLE,
    VERDICT,
    constraint,
)
from search.storage.curve import stored_point
from search.storage.failure import FailureKind
from search.storage.lease import Lease, this_host
from search.storage.location import CERTIFY
from search.storage.place import Active, had_neighbours, may_start, place_name
from search.storage.retry import StorageGone
from search.storage.trial_end import Shown, end_trial
from search.study import pack
from search.study.attempt import Attempt, tidy, where_is
from search.study.heal import heal
from search.study.progress import reason_to_stop
from search.study.start import start_attempt
from search.study.study import Study
from search.study.suggest import waiting_trial
from search.study.values import outside_notes, values_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def join(study: Study, engine_process: Process | None = None) -> Session:
    """Register the calling process as a worker of the study, so that it can claim attempts.

    If another process ends its lease, every call on the study raises LeaseLost. The worker can then
    open the study and join again.

    Args:
        study: The study, opened by this process; no other session may use the same object.
        engine_process: The process that started this one and will report how it ended.

    """
    lease_seconds = study.plan.search.settings.lease_seconds
    lease = Lease(study.tables.url, study.id, lease_seconds, engine_process)
    study.tables.retry(lease.join)
    lease.fence(study.tables.engine)
    return Session(study, lease)


class Session:
    """A worker of a study, from `join` until `leave`.

    Attributes:
        study: The study, for reading; also fenced by the lease.
        name: The worker's name, stored with every trial that it trains.

    """

    def __init__(self, study: Study, lease: Lease) -> None:
        self.study = study
        self.name = lease.name
        self._lease = lease
        self._tables = study.tables
        self._tidied: dict[int, bool] = {}  # whether each trial's best weights were kept
        self._lengths: dict[int, dict[str, Any]] = {}  # of attempts, not yet stored

    @cached_property
    def place(self) -> str | None:
        """The memory that its trials use; None if they are trained elsewhere."""
        plan = self.study.plan
        if plan.is_asked:
            return None
        trainer = plan.default.trainer
        on_host = trainer.device in (Device.cpu, Device.mps)
        cards = () if on_host else gpus()[: trainer.devices]
        return place_name(this_host(), [gpu.card.replace("/", "-") for gpu in cards])

    @property
    def is_lost(self) -> bool:
        """Whether this process has noticed that another one ended its lease."""
        return self._lease.is_lost

    def set_busy(self, is_busy: bool, *, at_once: bool = True) -> None:
        """Start or stop counting this worker's time as training.

        Args:
            is_busy: Whether it trains from now on.
            at_once: Whether to store it now, see `search.storage.lease`.

        """
        self._tables.retry(lambda: self._lease.set_busy(is_busy, at_once=at_once))

    def leave(self, reason: str = "left in order") -> None:
        """End the lease; the worker must have handed back its unfinished attempts."""
        with suppress(StorageGone):  # the lease will expire
            self._tables.retry(lambda: self._lease.leave(reason))
        self._tables.engine.dispose()

    def entrust(self, seconds: float) -> None:
        """Leave the claimed attempt to a loop of the caller's own.

        Its lease ends `seconds` after its last renewal, with or without this process.
        """
        self._tables.retry(lambda: self._lease.outlive(seconds))
        self._tables.engine.dispose()

    def next_attempt(self) -> Attempt | None:
        """Claim the next trial; None if none is available now."""
        return next(iter(self.next_attempts(1)), None)

    def next_attempts(self, num: int) -> list[Attempt]:
        """Claim up to `num` trials in one transaction; empty if none is available now.

        Until the study is over, other workers hold the rest and may give trials back.
        """
        study = self.study
        while not study.is_stopping and study.out_of_time is None:
            trials = study.trials
            waiting = {t._trial_id: t.number for t in trials if t.state.name == "WAITING"}
            active = _active(trials)
            if 0 < len(waiting) < num and not active and self._add(num - len(waiting)):
                continue  # now there are more to claim
            claimed = transaction.claim(self._tables, list(waiting), self.name, num, self.place)
            if claimed:
                return [self._start(waiting[trial_id]) for trial_id in claimed]
            if not active and (added := self._add_claimed(num)):
                return [self._start(number) for number in added]
            # A trial that waits until it is alone here keeps new ones away.
            has_room = self.place is None or may_start(None, self.place, active)
            if not (active and has_room and self._add(num)) and not heal(study):
                return []
        return []

    def next_pack(self, num: int) -> list[Attempt]:
        """Claim the next trial, and up to `num` - 1 more that can train together with it.

        They depend on no result, and are only this worker's share of those that do not.
        """
        first = self.next_attempt()
        if first is None or num == 1 or not self._may_have_mates(first):
            return [] if first is None else [first]
        num_workers = max(1, self.study.plan.search.settings.workers)
        num = min(num, 1 + pack.num_left(self.study) // num_workers)
        found = [first]
        while len(found) < num and (mate := self.next_mate(first)) is not None:
            found.append(mate)
        if len(found) > 1:
            self._set(first, {PACKED: True})
        return found

    def next_mate(self, first: Attempt) -> Attempt | None:
        """Claim the next trial that can share the passes of `first`; None if there is none.

        If no trial waits that can, new ones are added and drawn. Those that cannot share its passes
        wait with their values, never more than fit into a pack.
        """
        study, max_waiting = self.study, self.study.plan.search.settings.pack_size
        key = pack.key_of(study.plan, first.values)
        while not study.is_stopping and study.out_of_time is None and not _active(study.trials):
            found = pack.next_fitting(study, key)
            if found is None:
                trials = study.trials
                num_waiting = sum(trial.state.name == "WAITING" for trial in trials)
                may_add = num_waiting < max_waiting and len(trials) < pack.num_foreseen(study)
                if not (may_add and self._add(1)):
                    return None
            elif transaction.claim(self._tables, [found._trial_id], self.name, 1, self.place):
                if pack.key_of(study.plan, values_of(study, study.trial(found.number))) == key:
                    attempt = self._start(found.number)
                    self._set(attempt, {PACKED: True})
                    return attempt
                reason = f"it cannot train together with trial {first.number}"
                self._end(found._trial_id, FailureKind.interrupted, reason)
        return None

    def _may_have_mates(self, first: Attempt) -> bool:
        if first.micro_batch_size or pack.key_of(self.study.plan, first.values) is None:
            return False
        return pack.may_pack(self.study.trial(first.number))

    def retry_alone(self, attempt: Attempt, outcome: Outcome) -> AttemptEnd | None:
        """Hand back an attempt that does not fit into memory, to be tried alone.

        Returns: What happens to its trial; None if it had no neighbours.
        """
        if not had_neighbours(self._tables, attempt.trial_id):
            return None
        reason = f"{outcome.reason}, beside other trials"
        return self.hand_back(attempt, FailureKind.crowded, reason, outcome.seconds)

    def began(self, attempt: Attempt, num_examples: int, stable_examples: int) -> None:
        """Keep how long the attempt's run is, for its first validation or its end to store.

        Nobody compares it with others before.
        """
        self._lengths[attempt.number] = {LENGTH: [num_examples, stable_examples]}

    def saved(self, attempt: Attempt, step: int) -> None:
        """Store that the attempt can continue from `step`."""
        where = where_is(attempt.folder)
        self._set(attempt, {CHECKPOINT: {"attempt": attempt.attempt, "step": step, "where": where}})

    def progress(self, attempt: Attempt, point: Point) -> str | None:
        """Store a validation; return a reason to prune the trial, or None."""
        study = self.study
        value = point.metrics[study.plan.default.task.metric]
        values = {PROGRESS: [round(point.seconds, 3), time.time()]}
        values |= self._lengths.pop(attempt.number, {})
        transaction.add_validation(
            self._tables, attempt.trial_id, point.examples, value, stored_point(point), values
        )
        return reason_to_stop(study, attempt.number, point.examples, point.number)

    def ended(self, attempt: Attempt, outcome: Outcome, shown: Shown | None = None) -> None:
        """Store the outcome of an attempt that ended by itself; its trial is over.

        Args:
            attempt: The attempt.
            outcome: Its outcome.
            shown: What dashboards show of its trial; None changes nothing of that.

        """
        from optuna.trial import TrialState

        assert outcome.ending is not Ending.interrupted, "that one is handed back"
        user: dict[str, Any] = {
            ENDING: outcome.ending.value,
            REASON: outcome.reason,
            THREADS: outcome.num_threads,
            TRAINABLE: outcome.num_trainable,
            VERDICT: outcome.verdict,
            METRICS: dict(outcome.best.metrics) if outcome.best else {},
            BEST_EPOCH: outcome.best.epoch if outcome.best else None,
            SECONDS: round(outcome.seconds, 3),
            MEMORY: outcome.memory_bytes,
            SPEED: outcome.tokens_per_second,
            MFU: outcome.mfu,
            GRADIENT_NORM: outcome.gradient_norm,
            SCORING: outcome.scoring_seconds,
        }
        # Of a guard that holds too: where it is nearly broken may tell a sampler something.
        system: dict[str, Any] = {f"{GUARD}{each.name}": each.excess for each in outcome.guards}
        user |= self._lengths.pop(attempt.number, {})
        if outcome.guards:
            user[GUARDS] = {each.name: asdict(each) for each in outcome.guards}
        kept = {ROW_SCORES: outcome.row_scores, CHOSEN_SCORES: outcome.chosen_scores}
        system |= {name: scores.as_dict() for name, scores in kept.items() if scores is not None}
        shown = shown or Shown()
        system |= shown.of_trial
        state, values = TrialState.PRUNED, None
        if outcome.ending is Ending.finished:
            state = TrialState.COMPLETE
            values = [objective.value(outcome) for objective in self.study.plan.objectives]
            assert all(map(math.isfinite, values)), "a score that is NaN is no result"
        elif outcome.ending in (Ending.diverged, Ending.infeasible):
            # The sampler learns from a violated constraint, but ignores a failure.
            system[constraint(outcome.ending)] = 1.0
        study, trial = self.study.optuna, self.study.trial(attempt.number)
        study.sampler.after_trial(study, trial, state, values)
        end_trial(self._tables, attempt.trial_id, state, values, user, system, shown.of_study)
        self._tidy()

    def hand_back(
        self, attempt: Attempt, kind: FailureKind, reason: str, seconds: float | None
    ) -> AttemptEnd:
        """End an attempt that may be retried; return what happens to its trial."""
        self._lengths.pop(attempt.number, None)  # the next attempt tells it again
        if seconds is not None:
            self._set(attempt, {SECONDS: round(seconds, 3)})
        end = self._end(attempt.trial_id, kind, reason)
        if end is None:  # already done by an earlier try whose answer was lost
            end = AttemptEnd(attempt.number, attempt.attempt, reason)
        if end.ending is not None:
            self._tidy()
        return end

    def _end(self, trial_id: int, kind: FailureKind, reason: str) -> AttemptEnd | None:
        """End what this worker has claimed; None if it is no longer its own."""
        max_attempts = self.study.plan.search.settings.max_attempts
        return hand_back(self._tables, trial_id, self.name, kind, reason, max_attempts)

    def _add(self, num: int) -> int:
        """Add up to `num` trials without values, within the budget; return how many."""
        plan, template = self.study.plan, waiting_trial(self.study.plan.space, {})
        return add_trials(self._tables, self.study.id, plan.num_trials, [template] * num)

    def _add_claimed(self, num: int) -> list[int]:
        """Add up to `num` trials without values, claimed already; return their numbers."""
        plan, template = self.study.plan, waiting_trial(self.study.plan.space, {})
        whose = self.name, self.place
        return transaction.add_claimed(
            self._tables, self.study.id, plan.num_trials, template, num, *whose
        )

    def _start(self, number: int) -> Attempt:
        study = self.study
        trial = study.trial(number)  # other workers may have changed it before the claim
        notes = list(outside_notes(study.plan.space, trial))
        values = values_of(study, trial)
        attempt = start_attempt(self._tables, study.plan, study.folder, study.token, trial, values)
        return replace(attempt, notes=(*notes, *attempt.notes))

    def _set(self, attempt: Attempt, values: Mapping[str, Any]) -> None:
        transaction.set_attributes(self._tables, attempt.trial_id, values)

    def _tidy(self) -> None:
        """Delete what ended trials no longer need: checkpoints, and all weights but the best."""
        study, ranking, kept = self.study, self.study.ranking, set[int]()
        plan, default = study.plan, ranking.default
        follows = plan.composition.follows
        if follows is not None and follows.kind == CERTIFY:
            kept = {trial.number for trial in study.trials}  # scored later, and one is exported
        elif follows is None:
            kept = {trial.number for trial in ranking.trials[: plan.search.settings.keep]}
            kept |= ranking.front | study.dropped
        if confirms(plan):  # one of them may turn out to be the best
            kept |= {trial.number for trial in ranking.by_score[:MAX_CANDIDATES]}
            kept |= ranking.confirmed_costs.keys()
        if (ranking.is_cautious or confirms(plan)) and default is not None:
            kept |= {default.number}  # a later best trial may be within its noise
        for trial in study.trials:
            if trial.state.is_finished() and FOLDER in trial.user_attrs:
                is_kept = trial.number in kept
                if self._tidied.get(trial.number) is not is_kept:
                    tidy(study.folder_of(trial), keep_best=is_kept)
                    self._tidied[trial.number] = is_kept


def _active(trials: Sequence[FrozenTrial]) -> list[Active]:
    """Return the waiting and running trials; none if all of them may have neighbours."""
    active = [trial for trial in trials if not trial.state.is_finished()]
    if not any(trial.user_attrs.get(ALONE) for trial in active):
        return []
    return [
        Active(
            trial._trial_id,
            trial.state.name == "RUNNING",
            trial.user_attrs.get(PLACE),
            trial.user_attrs.get(ALONE),
        )
        for trial in active
    ]
