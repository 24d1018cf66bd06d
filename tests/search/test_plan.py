from __future__ import annotations

import pytest

from lightning_modules.error import ConfigError, SpaceError, UserError
from search.config import compose
from search.plan import Plan, build_plan, check_name


def plan_of(*overrides: str) -> Plan:
    return build_plan(compose("sweep", ["model=tiny", "logger=none", *overrides]).tree)


def places(*overrides: str) -> list[str]:
    with pytest.raises(UserError) as error:
        plan_of(*overrides)
    return [problem.where for problem in error.value.problems]


@pytest.mark.parametrize("name", ["a", "first", "2024-run_3.b", "007", "x" * 100])
def test_plain_folder_name_passes(name: str) -> None:
    check_name("study", name)


@pytest.mark.parametrize(
    "name",
    ["../x", "", "a/b", "x" * 200, "a\0b", "😀", "..", ".hidden", "-x", "a b", "a\n", None, 7],
    ids=repr,
)
def test_other_name_is_refused(name: object) -> None:
    with pytest.raises(ConfigError, match=r"^study: must be letters"):
        check_name("study", name)


def test_plan_holds_the_default_and_its_searched_values() -> None:
    plan = plan_of("study=mine", "strategy=full", "data.batch_size=8")
    assert plan.name == "mine"
    assert plan.default.data.batch_size == 8
    assert plan.default_values == {"optimizer.lr": 1e-4, "trainer.epochs": 2}


def test_run_of_a_trial_has_its_values() -> None:
    run = plan_of().run({"optimizer.lr": 3e-4, "trainer.epochs": 1})
    assert (run.optimizer.lr, run.trainer.epochs) == (3e-4, 1)


@pytest.mark.parametrize("metric", ["mcc", "validation/mcc"])
def test_searched_metric_becomes_the_tasks(metric: str) -> None:
    plan = plan_of(f"search.metric={metric}")
    assert plan.default.task.metric == plan.run({}).task.metric == "mcc"


def test_unknown_metric_is_told_by_the_key_that_was_set() -> None:
    assert places("search.metric=acuracy") == ["search.metric"]
    assert places("task.metric=acuracy") == ["task.metric"]


def test_configuration_and_search_are_judged_at_once() -> None:
    assert places("search.num_trials=0", "trainer.epochs=0", "seed=-1") == [
        "search.num_trials",
        "trainer.epochs",
        "seed",
    ]


@pytest.mark.xfail(reason="check_name raises before anything else is judged", strict=True)
def test_bad_name_is_told_with_the_other_problems() -> None:
    assert set(places("study=../x", "trainer.epochs=0")) == {"study", "trainer.epochs"}


def test_enqueued_values_are_kept_in_order() -> None:
    plan = plan_of("search.enqueue=[{optimizer.lr: 3e-4}, {trainer.epochs: 3}]")
    assert plan.enqueued == ({"optimizer.lr": 3e-4}, {"trainer.epochs": 3})


@pytest.mark.parametrize(
    ("values", "path", "rule"),
    [
        ("optimizer.lrr: 1e-3", "optimizer.lrr", r"a searched path.*Did you mean optimizer\.lr\?"),
        ("seed: 1", "seed", "a searched path"),
        ("data.batch_size: 7", "data.batch_size", r"lie in choice\(8, 16, 32\)"),
        ("optimizer.lr: fast", "optimizer.lr", "lie in tag"),
        ("optimizer.lr: null", "optimizer.lr", "lie in tag"),
    ],
)
def test_enqueued_values_must_lie_in_the_space(values: str, path: str, rule: str) -> None:
    with pytest.raises(SpaceError, match=rf"^search\.enqueue\.0\.{path}: must (be )?{rule}"):
        plan_of(f"search.enqueue=[{{{values}}}]")
