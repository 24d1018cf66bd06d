"""End a trial that has its result, in one transaction.

Optuna's own calls take one for each attribute and three for the result, and a trial of a second
would wait for each of them to reach the disk. It is safe to repeat if the connection breaks before
the answer arrives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from search.storage.row import (
    finish,
    locked,
    set_of_study,
    set_system,
    set_user,
    transaction,
)

if TYPE_CHECKING:
    from optuna.trial import TrialState
    from sqlalchemy.orm import Session

    from search.storage.tables import StudyStorage


@dataclass(frozen=True)
class Shown:
    """What dashboards show of a trial besides its result, as system attributes.

    Attributes:
        of_trial: The trial's.
        of_study: The study's: Optuna's dashboard keeps notes there.

    """

    of_trial: Mapping[str, Any] = field(default_factory=dict)
    of_study: Mapping[str, Any] = field(default_factory=dict)


def end_trial(
    storage: StudyStorage,
    trial_id: int,
    state: TrialState,
    values: Sequence[float] | None,
    user: Mapping[str, Any],
    system: Mapping[str, Any],
    of_study: Mapping[str, Any],
) -> None:
    """Set a running trial's attributes, values and state.

    Args:
        storage: The storage.
        trial_id: The trial.
        state: COMPLETE, PRUNED or FAIL.
        values: One for each objective of a complete trial. A pruned one without values has its last
            intermediate value, as with Optuna's own call.
        user: User attributes to set.
        system: System attributes to set.
        of_study: System attributes of its study to set.

    """
    from optuna.trial import TrialState

    def end() -> None:
        with transaction(storage) as session:
            trial: Any = locked(session, trial_id)
            if trial.state is not TrialState.RUNNING:
                return  # ended by an earlier try whose answer was lost
            set_user(session, trial_id, user)
            set_system(session, trial_id, system)
            set_of_study(session, trial.study_id, of_study)
            is_pruned = state is TrialState.PRUNED
            told = _last(session, trial_id) if is_pruned and values is None else values
            finish(storage, session, trial_id, state, told or ())

    storage.retry(end)


def _last(session: Session, trial_id: int) -> Sequence[float]:
    """Return the trial's last intermediate value; nothing if there is none or it is NaN."""
    from optuna.storages._rdb.models import TrialIntermediateValueModel as Value

    points = session.query(Value).filter_by(trial_id=trial_id)
    last: Any = points.order_by(Value.step.desc()).first()
    if last is None:
        return ()
    kind = last.intermediate_value_type
    value = Value.stored_repr_to_intermediate_value(last.intermediate_value, kind)
    return () if math.isnan(value) else (value,)
