"""Take a waiting trial out of the queue in one transaction: a worker may claim it just then."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from lightning_modules.outcome import Ending
from search.storage.attribute import ATTEMPT, ENDING, REASON
from search.storage.row import locked, set_user, transaction, user_attribute

if TYPE_CHECKING:
    from search.storage.tables import StudyStorage

UNTRAINED = "left the queue untrained"


def withdraw(storage: StudyStorage, trial_id: int) -> bool:
    """End a trial that waits, like a pruned one; return False if it does not wait any more.

    Its number stays in use, so that it counts in the budget.
    """
    from optuna.trial import TrialState

    def end() -> bool:
        with transaction(storage) as session:
            trial: Any = locked(session, trial_id)
            if trial.state is not TrialState.WAITING:
                # An earlier try may have ended it, and its answer was lost.
                return bool(user_attribute(session, trial_id, REASON) == UNTRAINED)
            values = {ENDING: Ending.pruned.value}
            if user_attribute(session, trial_id, ATTEMPT) is None:
                values[REASON] = UNTRAINED  # else why its last attempt ended
            set_user(session, trial_id, values)
            trial.state, trial.datetime_complete = TrialState.PRUNED, datetime.now()
            return True

    return storage.retry(end)
