"""How much of `search.max_hours` the search leaves to confirming its first few trials.

A trial takes about as long on a fresh split as it took before. The first few change while the study
runs, so time is kept for MAX_CANDIDATES of them and the default: for those that are the first now,
as long as their own runs, and for free places the mean. MARGIN more is kept, because runs differ.
At most SHARE of the hours is kept. If all of them do not fit into that, time is kept for fewer; if
not even the best one and the default do, for none.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from search.plan.confirm import MAX_CANDIDATES
from search.plan.plan import Plan
from search.storage.attribute import ATTEMPT, SECONDS

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

MARGIN = 1.1
SHARE = 0.5


def num_fitting(seconds: Sequence[float], limit: float) -> int:
    """Return how many of the first few can be confirmed in a time; 0 if not at least two.

    Args:
        seconds: What each takes; the first ones matter most.
        limit: The time, in seconds.

    >>> num_fitting([30, 30, 60, 30], limit=100), num_fitting([30, 80], limit=100)
    (2, 0)
    """
    fitting = [at for at in range(2, len(seconds) + 1) if sum(seconds[:at]) <= limit]
    return max(fitting, default=0)


def reserved(seconds: Sequence[float], max_seconds: float) -> float:
    """Return the seconds to keep for confirming the first few.

    Args:
        seconds: What each of them takes; the first ones matter most.
        max_seconds: The training time of search and confirming together.

    """
    wanted = [MARGIN * each for each in seconds]
    return sum(wanted[: num_fitting(wanted, SHARE * max_seconds)])


def reserved_before(plan: Plan, trial_seconds: float) -> float:
    """Return the seconds that a study will keep if each trial takes `trial_seconds`, 0 or more."""
    settings = plan.search.settings
    if settings.max_hours is None:
        return 0.0
    each = settings.confirm * trial_seconds
    return reserved([each] * num_places(plan), settings.max_hours * 3600)


def num_places(plan: Plan) -> int:
    """Return how many trials are confirmed at most."""
    return min(MAX_CANDIDATES + 1, plan.num_trials)


def most_important_first(
    few: Sequence[FrozenTrial], default: FrozenTrial | None
) -> list[FrozenTrial]:
    """Return the first few, in the order in which they are given time.

    The best one comes first, and the default second, because the best is compared with it.

    Args:
        few: The first few, best first.
        default: The default's trial, if it has finished.

    """
    others = [trial for trial in few[1:] if default is None or trial.number != default.number]
    is_second = default is not None and bool(few) and few[0].number != default.number
    return [*few[:1], *([default] if is_second and default is not None else []), *others]


def run_seconds(trial: FrozenTrial) -> float:
    """Return the seconds that a worker needs to train a finished trial again."""
    trained = float(trial.user_attrs.get(SECONDS, 0.0))
    start, end = trial.datetime_start, trial.datetime_complete
    if trial.user_attrs.get(ATTEMPT) != 1 or start is None or end is None:
        return trained
    return max(trained, (end - start).total_seconds())  # it also loads the data and the model


def with_free_places(taken: Sequence[float], plan: Plan, runs: Sequence[float]) -> list[float]:
    """Return what each place takes: those that are taken, and the free ones by the mean trial.

    Args:
        taken: Seconds of those that are taken.
        plan: The plan.
        runs: Seconds of one run of each finished trial; not empty.

    """
    num_free = num_places(plan) - len(taken)
    return [*taken, *[plan.search.settings.confirm * fmean(runs)] * num_free]
