from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from search.config import compose
from search.plan.build import build_plan
from search.plan.plan import Plan
from search.space.key import canonical_key
from search.storage.attribute import KEY, PLAN
from search.storage.failure import FailureKind
from search.storage.location import study_folder
from search.storage.transaction import reserve
from search.study.open import load_study, open_study
from search.study.prepare import check_study, prepare_study
from search.study.resume import compose_study
from search.study.session import join
from search.study.suggest import first_suggestions


@cache
def plan_of(*overrides: str) -> Plan:
    words = ["model=tiny", "logger=none", "search.num_trials=5", "search.max_attempts=1"]
    words += ["search/sampler=tpe"]  # whose first draws do not depend on results
    words += overrides
    return build_plan(compose("sweep", words))


@pytest.mark.parametrize(
    ("overrides", "num"),
    [
        ((), 4),
        (
            ("search/sampler=random", "search.enqueue=[{optimizer.lr: 2e-3},{optimizer.lr: 4e-3}]"),
            5,
        ),
        (("optimizer.lr=interval(1e-2,1e-1)", "search.enqueue=[{trainer.epochs: 3}]"), 4),
    ],
    ids=["default", "random-enqueued", "default-outside-enqueued"],
)
def test_a_study_runs_the_suggested_trials(
    here: Path, overrides: tuple[str, ...], num: int
) -> None:
    plan = plan_of(*overrides)
    suggested = first_suggestions(plan)
    assert suggested == run_by_a_study(plan, here)[: len(suggested)]
    assert len(suggested) >= num


def test_values_enqueued_twice_are_suggested_once(here: Path) -> None:
    plan = plan_of("search.enqueue=[{optimizer.lr: 2e-3},{optimizer.lr: 2e-3}]")
    suggested = first_suggestions(plan)
    assert suggested == run_by_a_study(plan, here)[: len(suggested)]


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
    assert (
        len(first_suggestions(plan_of("search/sampler=tpe", "search.sampler.num_startup_trials=2")))
        == 2
    )
    assert len(first_suggestions(plan_of("search.num_trials=3"))) == 3


OPEN = "{optimizer.lr: 2e-3}"
WHOLE = "{optimizer.lr: 3e-3, data.batch_size: 8, trainer.epochs: 2}"


def test_what_a_model_will_choose_for_a_queued_configuration_is_left_open(here: Path) -> None:
    plan = plan_of("search/sampler=bayes", f"search.enqueue=[{OPEN},{WHOLE}]")
    first, second, third, *_ = first_suggestions(plan)
    assert first == plan.default_values
    assert second == {"optimizer.lr": 2e-3}
    assert third == {"optimizer.lr": 3e-3, "data.batch_size": 8, "trainer.epochs": 2}
    made = run_by_a_study(plan, here)
    assert second.items() < made[1].items()
    assert third == made[2]


def test_the_arm_of_a_queued_configuration_may_depend_on_results() -> None:
    entries = ",".join(f"{{trainer.validations_per_epoch: {num}}}" for num in (1, 2, 3))
    plan = plan_of(
        "strategy=choice(lora,full)",
        "trainer.validations_per_epoch=choice(1,2,3)",
        "search/sampler=bayes",
        f"search.enqueue=[{entries}]",
    )
    suggested = first_suggestions(plan)
    assert [values.get("strategy") for values in suggested] == ["lora", "full", None, None, None]
    assert [values["trainer.validations_per_epoch"] for values in suggested[2:]] == [1, 2, 3]


def test_another_seed_suggests_different_values() -> None:
    assert first_suggestions(plan_of())[1:] != first_suggestions(plan_of("search.seed=1"))[1:]


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


def test_the_seed_of_training_does_not_change_the_suggestions() -> None:
    assert first_suggestions(plan_of()) == first_suggestions(plan_of("seed=1"))


def test_studies_of_different_names_get_different_suggestions() -> None:
    assert first_suggestions(plan_of())[1:] != first_suggestions(plan_of("study=other"))[1:]


def test_a_study_without_a_seed_for_the_sampler_goes_on_with_its_seed(here: Path) -> None:
    plan = plan_of("seed=7")
    folder = study_folder(here, plan.name)
    prepare_study(plan, folder, check_study(plan, folder))
    storage = open_study(plan, folder).optuna._storage
    composition = plan.composition.as_dict()
    for arm in composition["arms"]:
        arm["tree"]["search"] = {k: v for k, v in arm["tree"]["search"].items() if k != "seed"}
    storage.set_study_system_attr(1, PLAN, composition)
    assert load_study(folder).plan.sampler_seed == 7
    again = build_plan(compose_study(["model=tiny", "logger=none", f"study={plan.name}"]))
    assert again.sampler_seed == 7
