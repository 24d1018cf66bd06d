from __future__ import annotations

import pytest

from lightning_modules.task.select import AUTO, chosen_by
from lightning_modules.trainer import Select
from search.pruner.base import ComparingPruner
from tests.search.plan.conftest import plan_of


@pytest.mark.parametrize("metric", ["mcc", "validation/mcc"])
def test_the_optimized_metric_becomes_the_tasks(metric: str) -> None:
    plan = plan_of(f"search.metric={metric}")
    assert plan.default.task.metric == plan.run({}).task.metric == "mcc"


@pytest.mark.parametrize(
    ("words", "compared"),
    [
        ((), ["brier"]),
        (("search.select=log_loss",), ["log_loss"]),
        (("search.select=metric",), ["validation_loss", "metric"]),
        (("task=token_classification",), ["validation_loss", "metric"]),
        (("search.pruner.compare=[auto,mcc]",), ["brier", "mcc"]),
        (("search.pruner.compare=[metric]",), ["metric"]),
        (("search/pruner=median",), ["brier"]),
        (("search.ask_tell=true",), ["validation_loss", "metric"]),  # what a loop reports
    ],
)
def test_a_pruner_compares_what_chooses_the_best_trial(
    words: tuple[str, ...], compared: list[str]
) -> None:
    pruner = plan_of(*words).search.pruner
    assert isinstance(pruner, ComparingPruner) and pruner.compare == compared


def test_the_rule_of_the_search_also_chooses_each_trials_epoch() -> None:
    plan = plan_of("search.select=log_loss")
    assert plan.default.trainer.select is plan.run({}).trainer.select is Select.log_loss
    assert plan.chosen_by == ("log_loss", "accuracy")
    plan = plan_of("search.select=log_loss", "task=token_classification")
    assert plan.default.trainer.select is Select.metric
    plan = plan_of("trainer.select=metric")
    assert plan.default.trainer.select is Select.metric and plan.chosen_by == ("accuracy",)


def test_a_study_keeps_what_auto_stood_for_when_it_began() -> None:
    plan = plan_of("trainer.select=auto")
    assert plan.default.trainer.select is AUTO
    assert plan.tree["trainer"]["select"] == AUTO.value
    assert plan_of("search.select=auto", "trainer.select=log_loss").chosen_by == chosen_by(
        AUTO, plan.default.task
    )


def test_several_objectives_are_compared_by_themselves() -> None:
    assert plan_of("search.objectives=[accuracy,seconds]").default.trainer.select is Select.metric
