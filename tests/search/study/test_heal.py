from __future__ import annotations

from pathlib import Path

from search.storage.failure import FailureKind
from search.study.heal import heal
from search.study.open import load_study
from search.study.session import join
from tests.search.study.conftest import begin, study_of


def test_healing_requeues_the_unfinished_trial_of_a_worker_that_left(here: Path) -> None:
    session = join(study_of(here, "search.num_trials=1"))
    begin(session)
    other = load_study(session.study.folder)
    assert heal(other) == []
    session.leave()
    (end,) = heal(other)
    assert (end.number, end.attempt, end.reason) == (0, 1, "its worker has left")
    trial = other.trial(0)
    assert trial.state.name == "WAITING"
    assert trial.user_attrs["attempts"][0]["fault"] == FailureKind.lost.value
