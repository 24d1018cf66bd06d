"""Which trials share memory, and which must have it for themselves.

A trial's place is the memory that it uses: `HOST` on a CPU, `HOST/0,1` on the GPUs 0 and 1. A
trial that ran out of memory beside others may fit alone. So it waits until its area, i.e. that
place or the whole host, has no other running trial, and then nothing else starts there. At another
place its area has the same extent.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.storage.attribute import ALONE, PLACE
from search.storage.row import locked, transaction

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from search.storage.tables import StudyStorage


def place_name(host: str, gpus: Sequence[str]) -> str:
    """Return the name of a place.

    >>> place_name("node", ["0", "1"]), place_name("node", [])
    ('node/0,1', 'node')
    """
    return f"{host}/{','.join(gpus)}" if gpus else host


def host_of(place: str) -> str:
    """Return the host of a place, which is also the area of all its memory."""
    return place.partition("/")[0]


def is_within(place: str, area: str) -> bool:
    """Return whether a place is an area or part of it.

    >>> is_within("node/0", "node"), is_within("node/0", "node/1")
    (True, False)
    """
    return place == area or place.startswith(f"{area}/")


@dataclass(frozen=True)
class Active:
    """A trial that waits or runs.

    Attributes:
        trial_id: Its ID in the storage.
        is_running: Whether it runs.
        place: Where it runs, or ran last; None if unknown.
        area: What it must have for itself; None if it may have neighbours.

    """

    trial_id: int | None
    is_running: bool = False
    place: str | None = None
    area: str | None = None

    def area_at(self, place: str) -> str | None:
        """Return the area that it must have for itself at a place."""
        if self.area is None:
            return None
        return place if "/" in self.area else host_of(place)


def may_start(trial_id: int | None, place: str, active: Sequence[Active]) -> bool:
    """Return whether a trial may start at a place, beside the other active trials.

    Args:
        trial_id: The trial; None is one that has not been added yet.
        place: The place.
        active: The study's waiting and running trials.

    """
    own = next((each for each in active if each.trial_id == trial_id), Active(trial_id))
    others = [each for each in active if each.trial_id != trial_id]
    for other in others:
        reserved = other.area
        if other.is_running and other.place is not None:
            reserved = other.area_at(other.place)
        # A trial that may have neighbours does not start before one that waits for the place.
        counts = other.is_running or own.area is None
        if counts and reserved is not None and is_within(place, reserved):
            return False
    area = own.area_at(place)
    return area is None or not any(
        other.is_running and (other.place is None or is_within(other.place, area))
        for other in others
    )


def study_of(session: Session, trial_id: int) -> int:
    """Return the ID of a trial's study."""
    from optuna.storages._rdb.models import TrialModel

    return int(session.query(TrialModel.study_id).filter_by(trial_id=trial_id).scalar())


def active_trials(session: Session, study_id: int) -> list[Active]:
    """Return the waiting and running trials of a study; none if all may have neighbours.

    If there are any, other claims of the study wait until the transaction ends.
    """
    from optuna.storages._rdb.models import StudyModel, TrialModel
    from optuna.trial import TrialState

    if not _values(session, study_id, ALONE):
        return []
    session.query(StudyModel).filter_by(study_id=study_id).with_for_update().one()

    states = (TrialState.WAITING, TrialState.RUNNING)
    rows: Any = session.query(TrialModel.trial_id, TrialModel.state)
    rows = rows.filter(TrialModel.study_id == study_id, TrialModel.state.in_(states)).all()
    areas = _values(session, study_id, ALONE)
    if not any(trial_id in areas for trial_id, _ in rows):
        return []
    places = _values(session, study_id, PLACE)
    return [
        Active(trial_id, state is TrialState.RUNNING, places.get(trial_id), areas.get(trial_id))
        for trial_id, state in rows
    ]


def had_neighbours(storage: StudyStorage, trial_id: int) -> bool:
    """Return whether others ran at a running trial's place since it started."""

    def look() -> bool:
        with transaction(storage) as session:
            trial: Any = locked(session, trial_id)
            place = _values(session, trial.study_id, PLACE).get(trial_id)
            return place is not None and ran_beside(session, trial, place)

    return storage.retry(look)


def ran_beside(session: Session, trial: Any, area: str) -> bool:
    """Return whether an area had other trials since a running trial started.

    A trial that was alone in the area had none, even if others wait for it now.
    """
    from optuna.storages._rdb.models import TrialModel
    from optuna.trial import TrialState

    areas = _values(session, trial.study_id, ALONE)
    places = _values(session, trial.study_id, PLACE)
    place = places.get(trial.trial_id)
    own = Active(trial.trial_id, place=place, area=areas.get(trial.trial_id))
    if place is not None and (own_area := own.area_at(place)) and is_within(area, own_area):
        return False
    trials: Any = session.query(TrialModel).filter_by(study_id=trial.study_id).all()
    for other in trials:
        place = places.get(other.trial_id)
        if other.trial_id == trial.trial_id or place is None or not is_within(place, area):
            continue
        ended = other.datetime_complete
        # One that waits for an area has just run out of memory here as well.
        if (
            other.state is TrialState.RUNNING
            or (ended is not None and ended >= trial.datetime_start)
            or (other.state is TrialState.WAITING and other.trial_id in areas)
        ):
            return True
    return False


def _values(session: Session, study_id: int, key: str) -> dict[int, str]:
    """Return a user attribute of all trials that have it, by trial ID."""
    from optuna.storages._rdb.models import TrialModel
    from optuna.storages._rdb.models import TrialUserAttributeModel as User

    rows = (
        session.query(User.trial_id, User.value_json)
        .join(TrialModel, TrialModel.trial_id == User.trial_id)
        .filter(TrialModel.study_id == study_id, User.key == key)
    )
    values = ((trial_id, json.loads(str(value))) for trial_id, value in rows.all())
    return {int(trial_id): str(value) for trial_id, value in values if value is not None}
