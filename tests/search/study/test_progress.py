from __future__ import annotations

from pathlib import Path

import pytest

from search.study.session import join
from tests.search.study.conftest import GUARD, begin, guarded, point, study_of


@pytest.mark.parametrize(("loss", "is_rival"), [(0.4, True), (0.9, False)])
def test_a_trial_that_breaks_a_guard_prunes_no_other(
    here: Path, loss: float, is_rival: bool
) -> None:
    pruner = (
        "search/pruner=median",
        "search.pruner.min_finished=1",
        "search.pruner.min_fraction=0",
    )
    session = join(study_of(here, GUARD, "search.num_trials=6", *pruner))
    for _ in range(3):
        attempt = begin(session)
        session.progress(attempt, point(1, 0.5))
        session.progress(attempt, point(2, 0.9))
        session.ended(attempt, guarded(0.9, loss))
    attempt = begin(session)
    session.progress(attempt, point(1, 0.5))
    assert (session.progress(attempt, point(2, 0.6)) is not None) is is_rival
