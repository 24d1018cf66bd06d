"""Importances with intervals: the planted setting leads, and few trials say nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.report.influence import MIN_TRIALS, influences
from tests.search.report.synthetic import study_of


@pytest.mark.thorough  # scikit-learn
def test_the_planted_setting_leads_by_both_methods(here: Path) -> None:
    words = ("optimizer.lr=tag(log,interval(1e-5,1e-1))",)
    found = influences(study_of(here, "planted", ["complete"] * 60, *words))
    (arm,) = found.arms
    assert found.choice is None
    assert arm.order[0] == "optimizer.lr"
    assert max(arm.variance, key=lambda path: arm.variance[path].value) == "optimizer.lr"
    for share in (*arm.apart.values(), *arm.variance.values()):
        assert 0 <= share.low <= share.value <= share.high <= 1


def test_the_planted_difference_of_arms_is_found(here: Path) -> None:
    words = ("strategy=choice(lora,full)", "search.arms=joint")
    found = influences(study_of(here, "arms", ["complete"] * (MIN_TRIALS + 4), *words))
    assert found.choice is not None and found.choice.high > 0.1
    assert [each.apart for each in found.arms] == [{}, {}]  # 12 finished trials each


def test_few_trials_say_nothing(here: Path) -> None:
    found = influences(study_of(here, "few", ["complete"] * 5))
    assert found.choice is None and not found.arms[0].apart and found.arms[0].num_trials == 5
