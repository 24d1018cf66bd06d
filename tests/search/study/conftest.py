"""Small studies for the tests in this folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from lightning_modules.folder import BEST_FILE
from lightning_modules.outcome import Ending, GuardScore, Outcome, Point, RowScores
from search.config import compose
from search.plan.build import build_plan
from search.plan.plan import Plan
from search.storage.location import study_folder
from search.study.attempt import Attempt
from search.study.open import load_study
from search.study.prepare import check_study, prepare_study
from search.study.session import Session, join
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


def scored(accuracy: float, noise: int) -> Outcome:
    """Return a run with the contributions of 40 validation rows."""
    right = round(40 * accuracy)
    values = [1.0] * right + [0.0] * (40 - right)
    values = values[noise:] + values[:noise]
    return replace(outcome(accuracy), row_scores=RowScores("r", tuple(values)))


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


def train(study: Study, outcomes: Sequence[Outcome]) -> str:
    """End the next trials of a study with these outcomes, each with weights; return the worker."""
    session = join(load_study(study.folder))
    for each in outcomes:
        attempt = begin(session)
        (attempt.folder / BEST_FILE).touch()
        session.ended(attempt, each)
    session.leave()
    return session.name


def train_rest(study: Study, ended: Callable[[Mapping[str, Any]], Outcome]) -> str:
    """End all waiting trials, each with weights and what `ended` makes of its values."""
    session = join(load_study(study.folder))
    while (attempt := session.next_attempt()) is not None:
        session.began(attempt, num_examples=1200, stable_examples=960)
        (attempt.folder / BEST_FILE).touch()
        session.ended(attempt, ended(attempt.values))
    session.leave()
    return session.name


def ended_study(here: Path, accuracies: Sequence[float], *words: str) -> Study:
    """Return a study of which all trials have ended with these accuracies."""
    study = study_of(here, f"search.num_trials={len(accuracies)}", *words)
    train(study, [outcome(accuracy) for accuracy in accuracies])
    return study


def numbers_of(study: Study) -> dict[float, int]:
    """Return the number of the trial with each learning rate."""
    return {study.params_of(trial)["optimizer.lr"]: trial.number for trial in study.trials}


def finish(session: Session, accuracy: float, seconds: float = 1.0) -> Attempt:
    attempt = begin(session)
    session.progress(attempt, point(1, accuracy))
    session.ended(attempt, outcome(accuracy, seconds))
    return attempt
