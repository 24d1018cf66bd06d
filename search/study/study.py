"""A study: its queue of trials, readable by any process.

Optuna's storage is the queue; there is no coordinator that could fail. A trial waits, runs and
ends under one number; an interrupted one waits again. Numbers have no gaps, so the budget is exact
with any number of workers: a trial belongs to it if its number is below `num_trials`. Only the
worker that has claimed a trial changes it (`search.study.session`).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.rows.corpus import Corpus
from search.certificate.certificate import (
    Certificate,
    certificates_as_dict,
    certificates_of,
    verdict_on,
)
from search.config import Follows
from search.plan import certify
from search.plan.confirm import MAX_CANDIDATES, confirms, fresh_of
from search.plan.follow import SEED
from search.plan.plan import Plan
from search.space.key import canonical_key
from search.storage.add import mark_started
from search.storage.attribute import (
    CERTIFICATE,
    CONFIRMED,
    DATA,
    FOLDER,
    ID,
    LOOK,
    PLAN,
    PRIOR,
    SCORED,
    START,
    STOP,
    drop_attribute,
    dropped_numbers,
)
from search.storage.lease import used_seconds
from search.storage.location import CERTIFY, FOLLOW_UPS, follow_up_folder
from search.study.attempt import inside
from search.study.confirmed import Confirmed
from search.study.knowledge import Prior
from search.study.params import params_of
from search.study.ranking import Ranking
from search.study.reserve import (
    most_important_first,
    reserved,
    run_seconds,
    scoring_seconds,
    to_certify,
    with_free_places,
)
from search.study.suggest import first_values

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from search.storage.tables import StudyStorage


class Study:
    """An open study, readable by any process; `create_or_update` and `load_study` return one.

    Attributes:
        plan: Its configuration, space, budget and objectives.
        folder: Its files.
        tables: Its storage.
        id: Its ID in the storage.

    """

    def __init__(
        self, plan: Plan, folder: Path, study: optuna.Study, storage: StudyStorage
    ) -> None:
        self.plan = plan
        self.folder = folder
        self.tables = storage
        self.id: int = study._study_id
        self._study = study

    @property
    def optuna(self) -> optuna.Study:
        """The study as an Optuna object, for Optuna's own tools."""
        return self._study

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials of the budget, by number."""
        trials = self._study.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.number < self.plan.num_trials]

    @property
    def beyond_budget(self) -> list[int]:
        """The numbers of the trials that wait for a larger budget, e.g. of `finesweep try`."""
        trials = self._study.get_trials(deepcopy=False)
        waiting = (trial.number for trial in trials if trial.state.name == "WAITING")
        return [number for number in waiting if number >= self.plan.num_trials]

    def trial(self, number: int) -> FrozenTrial:
        """Return the current state of the trial with that number."""
        storage = self._study._storage
        trial: FrozenTrial = storage.get_trial(
            storage.get_trial_id_from_study_id_trial_number(self.id, number)
        )
        return trial

    @property
    def data_fingerprint(self) -> str:
        """The fingerprint of the rows that the study started with."""
        return str(self._attributes[DATA])

    def fingerprint_of(self, corpus: Corpus) -> str:
        """Return the fingerprint of a trial's rows that must be equal in all its trials.

        If it follows another study, its trials may be on different splits.
        """
        is_split = self.plan.composition.follows is not None
        return corpus.pool_fingerprint if is_split else corpus.fingerprint

    @property
    def token(self) -> str:
        """Random text that distinguishes the study from an earlier one of the same name."""
        return str(self._attributes.get(ID))

    @property
    def prior(self) -> Prior | None:
        """What it has taken over from another study; None if nothing."""
        prior: Prior | None = self._attributes.get(PRIOR)
        return prior or None  # empty: it was given up

    @property
    def dropped(self) -> frozenset[int]:
        """The numbers of the trials that `finesweep drop` took out of consideration."""
        return dropped_numbers(self._attributes)

    @property
    def considered(self) -> list[FrozenTrial]:
        """The trials of the budget that are not dropped."""
        dropped = self.dropped
        return [trial for trial in self.trials if trial.number not in dropped]

    @property
    def num_ended(self) -> int:
        """Trials of the budget that will not run again."""
        return sum(trial.state.is_finished() for trial in self.trials)

    @property
    def best(self) -> FrozenTrial | None:
        """The best finished trial; the earliest if tied. None if none has finished."""
        return self.ranking.best

    @property
    def ranking(self) -> Ranking:
        """The order of its finished trials, as of now."""
        return Ranking(self.plan, self.considered, self.confirmed)

    @property
    def confirmed(self) -> Confirmed | None:
        """What the first few came to on fresh splits; None if they were not trained again."""
        values = self._attributes.get(CONFIRMED) if confirms(self.plan) else None
        return None if values is None else Confirmed.from_dict(values)

    def confirm(self, confirmed: Confirmed) -> None:
        """Store what the first few came to on fresh splits, which decides what is the best."""
        self._study._storage.set_study_system_attr(self.id, CONFIRMED, confirmed.as_dict())

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """The verdicts on its configurations, the one on its winner first; none without them."""
        values = self._attributes.get(CERTIFICATE)
        return () if values is None else certificates_of(values)

    @property
    def certificate(self) -> Certificate | None:
        """The verdict on its winner; None without one, or if another trial has won since."""
        best = self.best
        return None if best is None else verdict_on(self.certificates, self.plan.name, best.number)

    def store_certificates(self, certificates: Sequence[Certificate]) -> None:
        """Store verdicts on its configurations, the one on its winner first."""
        values = certificates_as_dict(certificates)
        self._study._storage.set_study_system_attr(self.id, CERTIFICATE, values)

    @property
    def looks(self) -> list[Mapping[str, Any]]:
        """When and why the test rows were scored, oldest first."""
        found = [v for name, v in self._attributes.items() if name.startswith(LOOK)]
        return sorted(found, key=lambda look: str(look["time"]))

    def look(self, why: str) -> None:
        """Store that the test rows are scored, before it is done.

        Args:
            why: What is scored, by which command.

        """
        name = f"{LOOK}{secrets.token_hex(8)}"
        values = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "why": why}
        self._study._storage.set_study_system_attr(self.id, name, values)

    @property
    def scored(self) -> dict[int, Mapping[str, Any]]:
        """What its trials scored for certificates, by number (`search.trained.certify`)."""
        return {
            int(name.removeprefix(SCORED)): values
            for name, values in self._attributes.items()
            if name.startswith(SCORED)
        }

    def store_scored(self, number: int, values: Mapping[str, Any]) -> None:
        """Store what a trial scored on the rows of certificates.

        It is the study's attribute because Optuna lets no attribute of an ended trial change.
        """
        self._study._storage.set_study_system_attr(self.id, f"{SCORED}{number}", dict(values))

    @property
    def digest(self) -> str:
        """A digest of all that is stored of it and its trials: it changes if any of that does."""
        trials = [
            (t.number, t.state, t.values, t.params, t.intermediate_values, t.user_attrs,
             t.system_attrs)
            for t in self.trials
        ]  # fmt: skip
        text = repr((self.is_over, sorted(self._attributes.items(), key=str), trials))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def is_stopping(self) -> bool:
        """Whether `finesweep stop` has asked the study to start no more trials."""
        return bool(self._attributes.get(STOP))

    def ask_to_stop(self, stop: bool) -> None:
        """Ask the study to start no more trials, or with False allow trials again."""
        if stop != self.is_stopping:
            self._study._storage.set_study_system_attr(self.id, STOP, stop)

    def drop(self, number: int, *, undo: bool = False) -> None:
        """Take a trial out of consideration, or back into it."""
        self._study._storage.set_study_system_attr(self.id, drop_attribute(number), not undo)

    def params_of(self, trial: FrozenTrial) -> dict[str, Any]:
        """Return a trial's values by config path."""
        return params_of(self.plan.space, trial)

    def folder_of(self, trial: FrozenTrial) -> Path:
        """Return the folder of the trial's last attempt."""
        return inside(self.folder, str(trial.user_attrs[FOLDER]))

    def mark_first(self, first: Sequence[Mapping[str, Any]]) -> None:
        """Note which trials are those that the study's last plan tried `first`.

        Only needed by a study of an earlier version, which did not store it.
        """
        if not any(START in trial.system_attrs for trial in self._study.get_trials(deepcopy=False)):
            mark_started(self.tables, self.id, first)

    @property
    def num_unqueued(self) -> int:
        """How many configurations to try first have no place in the budget."""
        trials = self._study.get_trials(deepcopy=False)
        queued = {trial.system_attrs.get(START) for trial in trials}
        first = first_values(self.plan, self.prior)
        return sum(canonical_key(values) not in queued for values in first)

    @property
    def has_all_trials(self) -> bool:
        """Whether as many trials have ended as the budget has."""
        return self.num_ended >= self.plan.num_trials

    @property
    def is_used_up(self) -> bool:
        """Whether no trial will start or restart, because trials or hours are used up."""
        return self.has_all_trials or self.out_of_time is not None

    @property
    def is_over(self) -> bool:
        """Whether no trial will start or restart, for that reason or because it is stopped."""
        return self.has_all_trials or self.is_stopping or self.out_of_time is not None

    @property
    def seconds_left(self) -> tuple[float, int] | None:
        """The remaining training seconds of `search.max_hours`, and how many workers use them.

        None if there is no limit. What the studies that follow it have used counts.
        """
        max_hours = self.plan.search.settings.max_hours
        if max_hours is None:
            return None
        used = [self._used(self.id), *(self.used_to(kind) for kind in FOLLOW_UPS)]
        return max_hours * 3600 - sum(each[0] for each in used), sum(each[1] for each in used)

    def used_to(self, kind: str) -> tuple[float, int]:
        """Return the training seconds of a study that follows it, and its busy workers.

        Args:
            kind: What that study does, see `search.study.follow`.

        """
        if self.plan.composition.follows is not None:
            return 0.0, 0
        storage, name = self._study._storage, follow_up_folder(self.folder, kind).name
        try:
            study_id = storage.get_study_id_from_name(name)
        except KeyError:
            return 0.0, 0  # it has not begun
        attributes = storage.get_study_system_attrs(study_id)
        is_own = Follows.stored(attributes.get(PLAN, {})) == Follows(kind, self.plan.name)
        return self._used(study_id) if is_own else (0.0, 0)

    @property
    def reserved_seconds(self) -> float:
        """The seconds of `search.max_hours` that are kept for the studies that follow it."""
        return self.reserved_to_confirm + self.reserved_to_certify

    @property
    def reserved_to_certify(self) -> float:
        """The seconds that are kept for certifying the winner, as long as it is not certified."""
        max_hours, ranking = self.plan.search.settings.max_hours, self.ranking
        if max_hours is None or not certify.certifies(self.plan) or not ranking.by_score:
            return 0.0
        best = ranking.best or ranking.by_score[0]
        seconds = self.seconds_of_certificate([best, ranking.default or best])
        return to_certify(list(map(sum, seconds)), max_hours * 3600)

    def seconds_of_certificate(
        self, trials: Sequence[FrozenTrial], num_seeds: int | None = None
    ) -> list[tuple[float, float]]:
        """Return what training and scoring runs of finished trials still take, by fresh seed.

        Args:
            trials: The trials.
            num_seeds: How many seeds; None takes those of the settings.

        """
        fresh, runs = certify.fresh_of(self.plan, num_seeds), self._certifying_runs()
        found = []
        for value in fresh.values:
            training = scoring = 0.0
            for trial in trials:
                entry = {**self.params_of(trial), fresh.path: value}
                if fresh.path == SEED and value != fresh.values[0] and not self.plan.trains(entry):
                    continue  # the same model as with the first seed
                is_scored = runs.get(canonical_key(entry))
                training += run_seconds(trial) if is_scored is None else 0.0
                scoring += 0.0 if is_scored else scoring_seconds(trial)
            found.append((training, scoring))
        return found

    @property
    def reserved_to_confirm(self) -> float:
        """The seconds that are kept for confirming the first few."""
        max_hours, ranking = self.plan.search.settings.max_hours, self.ranking
        ranked = ranking.by_score
        if max_hours is None or not confirms(self.plan) or not ranked:
            return 0.0
        first = most_important_first(ranked[:MAX_CANDIDATES], ranking.default)
        runs = {} if ranking.confirmed is None else ranking.confirmed.runs
        values = fresh_of(self.plan).values
        seconds = [
            run_seconds(trial) * sum(value not in runs.get(trial.number, {}) for value in values)
            for trial in first
        ]
        seconds = with_free_places(seconds, self.plan, [run_seconds(trial) for trial in ranked])
        return reserved(seconds, max_hours * 3600, self.reserved_to_certify)

    @property
    def seconds_to_confirm(self) -> float | None:
        """The remaining training seconds that confirming may use; None if there is no limit."""
        left = self.seconds_left
        return None if left is None else left[0] - self.reserved_to_certify

    @property
    def trial_seconds_left(self) -> tuple[float, int] | None:
        """`seconds_left` without those that are kept for the studies that follow it."""
        left = self.seconds_left
        return None if left is None else (left[0] - self.reserved_seconds, left[1])

    @property
    def hours_used_up(self) -> bool:
        """Whether the training time of `search.max_hours` is used up."""
        left = self.seconds_left
        return left is not None and left[0] <= 0

    @property
    def out_of_time(self) -> str | None:
        """Why no more trials start because of `search.max_hours`; None if they do."""
        left = self.trial_seconds_left
        if left is None or left[0] > 0:
            return None
        kept = [
            name
            for name, seconds in (
                ("confirming the first few", self.reserved_to_confirm),
                ("certifying the winner", self.reserved_to_certify),
            )
            if seconds
        ]
        but_for = "" if self.hours_used_up else f" but for {' and '.join(kept)}"
        return f"search.max_hours={self.plan.search.settings.max_hours:g} is used up{but_for}"

    def _certifying_runs(self) -> dict[str, bool]:
        """Return the runs of certificates that have ended, and whether each has been scored."""
        storage, name = self._study._storage, follow_up_folder(self.folder, CERTIFY).name
        try:
            study_id = storage.get_study_id_from_name(name)
        except KeyError:
            return {}
        attributes = storage.get_study_system_attrs(study_id)
        return {
            str(trial.system_attrs.get(START)): f"{SCORED}{trial.number}" in attributes
            for trial in storage.get_all_trials(study_id, deepcopy=False)
            if trial.state.is_finished()
        }

    def _used(self, study_id: int) -> tuple[float, int]:
        def look() -> tuple[float, int]:
            with self.tables.engine.begin() as connection:
                return used_seconds(connection, study_id)

        return self.tables.retry(look)

    @property
    def _attributes(self) -> Mapping[str, Any]:
        from search.storage.read import study_attributes  # imports the tables, 0.3 s

        return study_attributes(self.tables, self.id)
