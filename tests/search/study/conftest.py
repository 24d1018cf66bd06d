"""Small studies for the tests in this folder."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from lightning_modules.outcome import Ending, GuardScore, Outcome, Point
from search.config import compose
from search.plan.build import build_plan
from search.plan.plan import Plan
from search.storage.location import study_folder
from search.study.attempt import Attempt
from search.study.prepare import check_study, prepare_study
from search.study.session import Session
from search.study.study import Study

SPACE = (
    *("search/space=none", "optimizer.lr=tag(log,interval(1e-4,1e-2))"),
    "search.certify=false",
)


@cache
def plan_of(*words: str) -> Plan:
    return build_plan(compose("sweep", ["study=s", "model=tiny", "logger=none", *SPACE, *words]))


def study_of(root: Path, *words: str) -> Study:
    """Return a study that is prepared but has no trained trials."""
    plan = plan_of(*words)
    folder = study_folder(root, plan.name)
    return prepare_study(plan, folder, check_study(plan, folder))


def point(number: int, accuracy: float) -> Point:
    metrics = {
        "accuracy": accuracy,
        "macro_f1": accuracy,
        "mcc": 0.0,
        "log_loss": 1 - accuracy,
        "brier": 1 - accuracy,
    }
    return Point(
        number, 10 * number, 300 * number, number / 2, 0.5, 1 - accuracy, metrics, 3.0 * number
    )


def outcome(accuracy: float, seconds: float = 1.0, ending: Ending = Ending.finished) -> Outcome:
    best = point(1, accuracy)
    return Outcome(ending, "to its end", best, (best,), seconds, 66, 99, "cpu", 2, "fits")


GUARD = "search.guards=[{data: reviews, metric: loss, at_most: 0.5, name: old}]"


def guarded(accuracy: float, loss: float) -> Outcome:
    """Return a finished run with a score on the guard `old`, which must be at most 0.5."""
    score = GuardScore("old", "loss", loss, 0.4, 0.5, True, "at most 0.5")
    return replace(outcome(accuracy), guards=(score,))


def begin(session: Session) -> Attempt:
    """Claim the next attempt and mark it as training."""
    attempt = session.next_attempt()
    assert attempt is not None
    session.began(attempt, num_examples=1200, stable_examples=960)
    return attempt


def finish(session: Session, accuracy: float, seconds: float = 1.0) -> Attempt:
    attempt = begin(session)
    session.progress(attempt, point(1, accuracy))
    session.ended(attempt, outcome(accuracy, seconds))
    return attempt
