"""A study: its queue of trials, readable by any process.

Optuna's storage is the queue; there is no coordinator that could fail. A trial waits, runs and
ends under one number; an interrupted one waits again. Numbers have no gaps, so the budget is exact
with any number of workers: a trial belongs to it if its number is below `num_trials`. Only the
worker that has claimed a trial changes it (`search.study.session`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.rows.corpus import Corpus
from search.plan.confirm import MAX_CANDIDATES, confirms, fresh_of
from search.plan.plan import Plan
from search.space.key import canonical_key
from search.storage.add import mark_started
from search.storage.attribute import (
    CONFIRMED,
    DATA,
    FOLDER,
    ID,
    PRIOR,
    START,
    STOP,
    drop_attribute,
    dropped_numbers,
)
from search.storage.lease import used_seconds
from search.storage.location import confirming_folder
from search.study.attempt import inside
from search.study.confirmed import Confirmed
from search.study.knowledge import Prior
from search.study.params import params_of
from search.study.ranking import Ranking
from search.study.reserve import most_important_first, reserved, run_seconds, with_free_places
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

        If it confirms the first few of another study, its trials are on different splits.
        """
        is_split = self.plan.composition.confirms is not None
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
    def is_over(self) -> bool:
        """Whether no trial will start or restart."""
        has_all = self.num_ended >= self.plan.num_trials
        return has_all or self.is_stopping or self.out_of_time is not None

    @property
    def seconds_left(self) -> tuple[float, int] | None:
        """The remaining training seconds of `search.max_hours`, and how many workers use them.

        None if there is no limit. What confirming the first few has used counts.
        """
        max_hours = self.plan.search.settings.max_hours
        if max_hours is None:
            return None
        used = [self._used(self.id), self.used_to_confirm]
        return max_hours * 3600 - sum(each[0] for each in used), sum(each[1] for each in used)

    @property
    def used_to_confirm(self) -> tuple[float, int]:
        """The seconds of training that confirmed the first few, and how many workers do so now."""
        if not confirms(self.plan):
            return 0.0, 0
        storage, name = self._study._storage, confirming_folder(self.folder).name
        try:
            return self._used(storage.get_study_id_from_name(name))
        except KeyError:
            return 0.0, 0  # it has not begun

    @property
    def reserved_seconds(self) -> float:
        """The seconds of `search.max_hours` that are kept for confirming the first few."""
        max_hours = self.plan.search.settings.max_hours
        if max_hours is None or not confirms(self.plan):
            return 0.0
        ranking = self.ranking
        ranked = ranking.by_score
        if not ranked:
            return 0.0
        first = most_important_first(ranked[:MAX_CANDIDATES], ranking.default)
        runs = {} if ranking.confirmed is None else ranking.confirmed.runs
        values = fresh_of(self.plan).values
        seconds = [
            run_seconds(trial) * sum(value not in runs.get(trial.number, {}) for value in values)
            for trial in first
        ]
        seconds = with_free_places(seconds, self.plan, [run_seconds(trial) for trial in ranked])
        return reserved(seconds, max_hours * 3600)

    @property
    def trial_seconds_left(self) -> tuple[float, int] | None:
        """`seconds_left` without those that are kept for confirming the first few."""
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
        but_for = "" if self.hours_used_up else " but for confirming the first few"
        return f"search.max_hours={self.plan.search.settings.max_hours:g} is used up{but_for}"

    def _used(self, study_id: int) -> tuple[float, int]:
        def look() -> tuple[float, int]:
            with self.tables.engine.begin() as connection:
                return used_seconds(connection, study_id)

        return self.tables.retry(look)

    @property
    def _attributes(self) -> Mapping[str, Any]:
        attributes: Mapping[str, Any] = self._study._storage.get_study_system_attrs(self.id)
        return attributes
