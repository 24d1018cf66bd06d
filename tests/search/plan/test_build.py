from __future__ import annotations

import pytest

from lightning_modules.error import ConfigError, UserError
from search.pruner.base import RankingPruner
from search.pruner.progress import Axis
from search.storage.location import folder_name
from tests.search.plan.conftest import plan_of


def places(*overrides: str) -> list[str]:
    with pytest.raises(UserError) as error:
        plan_of(*overrides)
    return [problem.where for problem in error.value.problems]


def test_an_unknown_metric_is_reported_under_the_key_that_was_set() -> None:
    assert places("search.metric=acuracy") == ["search.metric"]
    assert places("task.metric=acuracy") == ["task.metric"]


def test_a_study_uses_its_plain_name() -> None:
    assert plan_of("study='../x'").name == folder_name("../x")
    assert plan_of("study=2024").name == "2024"


def test_problems_of_configuration_and_search_are_reported_at_once() -> None:
    assert places("search.num_trials=0", "trainer.epochs=0", "seed=-1") == [
        "search.num_trials",
        "trainer.epochs",
        "seed",
    ]


def test_a_bad_name_is_reported_with_the_other_problems() -> None:
    assert set(places("study=''", "trainer.epochs=0")) == {"study", "trainer.epochs"}


def test_enqueued_values_are_kept_in_order() -> None:
    plan = plan_of("search.enqueue=[{optimizer.lr: 2e-3}, {trainer.epochs: 3}]")
    assert plan.first[1:3] == ({"optimizer.lr": 2e-3}, {"trainer.epochs": 3})


def test_study_without_a_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"search\.space: must search at least one setting"):
        plan_of("search/space=none")


def test_objectives_have_full_names_and_the_first_decides() -> None:
    plan = plan_of("search.objectives=[mcc,seconds,trainable_parameters]")
    assert [(o.name, o.direction) for o in plan.objectives] == [
        ("validation/mcc", "maximize"),
        ("seconds", "minimize"),
        ("trainable_parameters", "minimize"),
    ]
    assert plan.default.task.metric == "mcc"


@pytest.mark.parametrize(
    ("objectives", "line"),
    [
        ("[accuracy,secnds]", "must be among .*, got 'secnds'. Did you mean seconds?"),
        ("[seconds,accuracy]", "the first must be a validation metric, got 'seconds'"),
        ("[accuracy,validation/accuracy]", "must differ"),
        ("[]", "must name at least one"),
        ("[acuracy]", "got 'acuracy'. Did you mean accuracy?"),
    ],
)
def test_wrong_objectives_are_reported(objectives: str, line: str) -> None:
    with pytest.raises(UserError, match=rf"^search\.objectives: .*{line}"):
        plan_of(f"search.objectives={objectives}")


def test_metric_and_objectives_together_are_refused() -> None:
    assert places("search.objectives=[mcc]", "search.metric=mcc") == ["search.metric"]


def test_a_rule_and_several_objectives_together_are_refused() -> None:
    assert places("search.select=log_loss", "search.objectives=[accuracy,seconds]") == [
        "search.select"
    ]


@pytest.mark.parametrize("axis", ["steps", "examples", "epochs", "fraction"])
def test_a_pruner_compares_after_equal_training(axis: str) -> None:
    pruner = plan_of("search/pruner=asha", f"search.pruner.at_equal={axis}").search.pruner
    assert isinstance(pruner, RankingPruner) and pruner.at_equal is Axis(axis)


def test_the_unit_of_equal_training_is_checked() -> None:
    words = ("search/pruner=asha", "search.pruner.at_equal=hours")
    assert places(*words) == ["search.pruner.at_equal"]
