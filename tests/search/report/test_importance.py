from __future__ import annotations

from pathlib import Path

import pytest

from search.config import compose
from search.plan.build import build_plan
from search.report.importance import importances
from search.storage.location import study_folder
from search.study.prepare import check_study, prepare_study
from search.study.session import join
from search.study.study import Study


def study_of(root: Path, num_trials: int, *words: str) -> Study:
    """Return a study whose score depends only on the learning rate and the strategy."""
    fixed = ["model=tiny", "search/sampler=random", f"search.num_trials={num_trials}"]
    plan = build_plan(compose("sweep", [*fixed, *words]))
    folder = study_folder(root, plan.name)
    study = prepare_study(plan, folder, check_study(plan, folder))
    session = join(study)
    while (attempt := session.next_attempt()) is not None:
        values = attempt.values
        score = values["optimizer.lr"] + 10 * (values.get("strategy") == "full")
        study.optuna.tell(attempt.number, score)
    return study


@pytest.mark.thorough
def test_the_setting_that_decides_the_score_has_the_largest_share(here: Path) -> None:
    (shares,) = importances(study_of(here, 40)).values()
    assert set(shares) == {"optimizer.lr", "data.batch_size", "trainer.epochs"}
    assert max(shares, key=lambda path: shares[path]) == "optimizer.lr"
    assert abs(sum(shares.values()) - 1) < 1e-3


@pytest.mark.thorough
def test_each_arm_has_its_own_shares_and_the_choice_of_arm_too(here: Path) -> None:
    found = importances(study_of(here, 60, "strategy=choice(lora,full)", "search.arms=joint"))
    assert set(found) == {"", "lora", "full"}
    assert found[""] == {"strategy": 1.0}
    for arm in ("lora", "full"):
        assert max(found[arm], key=lambda path: found[arm][path]) == "optimizer.lr"


def test_few_trials_have_no_shares(here: Path) -> None:
    assert importances(study_of(here, 5)) == {}
