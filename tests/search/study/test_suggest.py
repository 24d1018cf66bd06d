from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from search.config import compose
from search.plan.plan import Plan, build_plan
from search.space.key import canonical_key
from search.storage.attribute import KEY
from search.storage.failure import FailureKind
from search.storage.location import study_folder
from search.storage.transaction import reserve
from search.study.prepare import check_study, prepare_study
from search.study.session import join
from search.study.suggest import first_suggestions


@cache
def plan_of(*overrides: str) -> Plan:
    words = ["model=tiny", "logger=none", "search.num_trials=5", "search.max_attempts=1"]
    words += overrides
    return build_plan(compose("sweep", words))


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("search/sampler=random", "search.enqueue=[{optimizer.lr: 2e-3},{optimizer.lr: 4e-3}]"),
        ("optimizer.lr=interval(1e-2,1e-1)", "search.enqueue=[{trainer.epochs: 3}]"),
    ],
    ids=["default", "random-enqueued", "default-outside-enqueued"],
)
def test_a_study_runs_the_suggested_trials(here: Path, overrides: tuple[str, ...]) -> None:
    plan = plan_of(*overrides)
    assert first_suggestions(plan) == run_by_a_study(plan, here)


def test_values_enqueued_twice_are_suggested_once(here: Path) -> None:
    plan = plan_of("search.enqueue=[{optimizer.lr: 2e-3},{optimizer.lr: 2e-3}]")
    assert first_suggestions(plan) == run_by_a_study(plan, here)


def run_by_a_study(plan: Plan, root: Path) -> list[dict[str, Any]]:
    folder = study_folder(root, plan.name)
    study = prepare_study(plan, folder, check_study(plan, folder))
    session = join(study)
    made = []
    while (attempt := session.next_attempt()) is not None:
        made.append(dict(attempt.values))
        session.hand_back(attempt, FailureKind.failed, "not trained here", None)
    assert len(made) == 5
    return made


def test_the_default_comes_first_then_enqueued_values() -> None:
    plan = plan_of("search.enqueue=[{optimizer.lr: 2e-3}]")
    first, second, *_ = first_suggestions(plan)
    assert first == plan.default_values
    assert second["optimizer.lr"] == 2e-3
    assert plan.space.holds(second)


def test_only_trials_that_do_not_depend_on_results_are_suggested() -> None:
    assert len(first_suggestions(plan_of("search.sampler.num_startup_trials=2"))) == 2
    assert len(first_suggestions(plan_of("search.num_trials=3"))) == 3


def test_another_seed_suggests_different_values() -> None:
    assert first_suggestions(plan_of())[1:] != first_suggestions(plan_of("seed=1"))[1:]


HALF = ("search/space=none", "strategy.dropout=choice(0,0.1)")  # the default is 0.0


def test_zero_and_zero_point_zero_are_the_same_value(here: Path) -> None:
    plan = plan_of(*HALF, "search.enqueue=[{strategy.dropout: 0}]")
    assert [values["strategy.dropout"] for values in first_suggestions(plan)] == [0, 0.1]
    folder = study_folder(here, plan.name)
    study = prepare_study(plan, folder, check_study(plan, folder))
    session = join(study)
    made = []
    while (attempt := session.next_attempt()) is not None:
        made.append(attempt.values["strategy.dropout"])
        session.hand_back(attempt, FailureKind.failed, "not trained here", None)
    assert made == [0, 0.1]


def test_a_study_with_old_keys_for_zero_resumes(here: Path) -> None:
    plan = plan_of(*HALF)
    folder = study_folder(here, plan.name)
    study = prepare_study(plan, folder, check_study(plan, folder))
    session = join(study)
    first = session.next_attempt()
    assert first is not None
    assert study.trial(0).system_attrs[KEY] == '{"strategy.dropout": 0}'
    study.optuna._storage.set_trial_system_attr(first.trial_id, KEY, '{"strategy.dropout": 0.0}')
    second = session.next_attempt()
    assert second is not None
    assert second.values == {"strategy.dropout": 0.1}
    values = {"strategy.dropout": 0}
    assert not reserve(study.tables, study.id, second.trial_id, canonical_key(values), {})
