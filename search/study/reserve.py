"""How much of `search.max_hours` the search leaves to confirming its first few and certifying.

A trial takes about as long on a fresh split as it took before. The first few change while the study
runs, so time is kept for MAX_CANDIDATES of them and the default: for those that are the first now,
as long as their own runs, and for free places the mean. MARGIN more is kept, because runs differ.
At most SHARE of the hours is kept. If all of them do not fit into that, time is kept for fewer; if
not even the best one and the default do, for none. Certifying the winner comes before: what it
takes is within that share, scoring its runs on the test rows included.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from search.plan.certify import NUM_SIDES, certifies
from search.plan.confirm import MAX_CANDIDATES, confirms
from search.plan.plan import Plan
from search.storage.attribute import SCORING, SECONDS, was_alone

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


def reserved(seconds: Sequence[float], max_seconds: float, kept: float = 0.0) -> float:
    """Return the seconds to keep for confirming the first few.

    Args:
        seconds: What each of them takes; the first ones matter most.
        max_seconds: The training time of search, confirming and certifying together.
        kept: What is kept for certifying the winner.

    """
    wanted = [MARGIN * each for each in seconds]
    return sum(wanted[: num_fitting(wanted, SHARE * max_seconds - kept)])


def to_certify(seconds: Sequence[float], max_seconds: float) -> float:
    """Return the seconds to keep for certifying the winner: for as many seeds as fit, at least two.

    Args:
        seconds: What the runs of the winner and the default take together, by seed, scoring
            included; 0 for runs that have been made.
        max_seconds: The training time of search, confirming and certifying together.

    >>> round(to_certify([20] * 3, 1000)), round(to_certify([20] * 3, 100))
    (66, 44)
    >>> to_certify([20] * 3, 80)
    0.0
    """
    kept = (MARGIN * sum(seconds[:num]) for num in range(len(seconds), 1, -1))
    return next((each for each in kept if each <= SHARE * max_seconds), 0.0)


def to_score(seconds: Sequence[tuple[float, float]], left: float) -> float:
    """Return the seconds that must be left for scoring when the last run has been trained.

    For as many seeds as fit, at least one.

    Args:
        seconds: What training and scoring the runs take, by seed.
        left: The seconds for both.

    >>> to_score([(20, 5)] * 3, 80), to_score([(20, 5)] * 3, 60), to_score([(20, 5)] * 3, 9)
    (15, 10, 5)
    """
    fitting = [num for num in range(1, len(seconds) + 1) if sum(map(sum, seconds[:num])) <= left]
    return sum(scoring for _, scoring in seconds[: max(fitting, default=1)])


def reserved_before(
    plan: Plan, trial_seconds: float, scoring_seconds: float = 0.0
) -> tuple[float, float]:
    """Return the seconds that a study will keep for confirming, and for certifying.

    Args:
        plan: The study's plan.
        trial_seconds: What each trial takes, 0 or more.
        scoring_seconds: What scoring a run on the test rows takes.

    """
    settings = plan.search.settings
    if settings.max_hours is None:
        return 0.0, 0.0
    each, max_seconds = settings.confirm * trial_seconds, settings.max_hours * 3600
    kept = 0.0
    if certifies(plan):
        seed = NUM_SIDES * (trial_seconds + scoring_seconds)
        kept = to_certify([seed] * settings.certify_seeds, max_seconds)
    first = [each] * num_places(plan) if confirms(plan) else []
    return reserved(first, max_seconds, kept), kept


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
    if not was_alone(trial) or start is None or end is None:
        return trained
    return max(trained, (end - start).total_seconds())  # it also loads the data and the model


def scoring_seconds(trial: FrozenTrial) -> float:
    """Return about how long scoring a run of a finished trial takes; 0 if that is not known."""
    return float(trial.user_attrs.get(SCORING) or 0.0)


def with_free_places(taken: Sequence[float], plan: Plan, runs: Sequence[float]) -> list[float]:
    """Return what each place takes: those that are taken, and the free ones by the mean trial.

    Args:
        taken: Seconds of those that are taken.
        plan: The plan.
        runs: Seconds of one run of each finished trial; not empty.

    """
    num_free = num_places(plan) - len(taken)
    return [*taken, *[plan.search.settings.confirm * fmean(runs)] * num_free]
