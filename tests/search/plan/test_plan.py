from __future__ import annotations

from functools import cache

import pytest

from lightning_modules.check import check_run
from lightning_modules.error import ConfigError, UserError
from lightning_modules.task.select import AUTO, chosen_by
from lightning_modules.trainer import Select
from search.config import compose
from search.plan.plan import Plan, build_plan, plain_name
from search.pruner.base import ComparingPruner
from search.pruner.progress import Axis
from search.storage.location import folder_name
from search.terminal.describe import describe


@cache
def plan_of(*overrides: str) -> Plan:
    return build_plan(compose("sweep", ["model=tiny", "logger=none", *overrides]))


def places(*overrides: str) -> list[str]:
    with pytest.raises(UserError) as error:
        plan_of(*overrides)
    return [problem.where for problem in error.value.problems]


@pytest.mark.parametrize("name", [None, "", [], {}], ids=repr)
def test_a_missing_name_is_refused(name: object) -> None:
    with pytest.raises(ConfigError, match=r"^study: must be a name, got .*Set study=NAME"):
        plain_name("study", name)


def test_a_study_uses_its_plain_name() -> None:
    assert plan_of("study='../x'").name == folder_name("../x")
    assert plan_of("study=2024").name == "2024"


def test_a_plan_has_the_default_and_its_searched_values() -> None:
    plan = plan_of("study=mine", "strategy=full", "data.batch_size=8")
    assert plan.name == "mine"
    assert plan.default.data.batch_size == 8
    assert plan.default_values == {"optimizer.lr": 2e-4, "trainer.epochs": 2}


def test_run_of_a_trial_has_its_values() -> None:
    run = plan_of().run({"optimizer.lr": 3e-4, "trainer.epochs": 1})
    assert (run.optimizer.lr, run.trainer.epochs) == (3e-4, 1)


@pytest.mark.parametrize("metric", ["mcc", "validation/mcc"])
def test_the_optimized_metric_becomes_the_tasks(metric: str) -> None:
    plan = plan_of(f"search.metric={metric}")
    assert plan.default.task.metric == plan.run({}).task.metric == "mcc"


def test_an_unknown_metric_is_reported_under_the_key_that_was_set() -> None:
    assert places("search.metric=acuracy") == ["search.metric"]
    assert places("task.metric=acuracy") == ["task.metric"]


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


def test_enqueued_values_must_lie_in_the_space() -> None:
    wrong = (
        "optimizer.lrr: 1e-3",
        "seed: 1",
        "data.batch_size: 7",
        "optimizer.lr: fast",
        "optimizer.lr: null",
    )
    enqueue = ",".join(f"{{{values}}}" for values in wrong)
    with pytest.raises(UserError) as error:
        plan_of("optimizer.lr=interval(0.1,1)", f"search.enqueue=[{enqueue}]")
    searched, lie = "must be a searched path", "must be in interval(0.1,1)"
    known = "Known: data.batch_size, optimizer.lr, trainer.epochs."
    assert [str(problem) for problem in error.value.problems] == [
        f"search.enqueue.0.optimizer.lrr: {searched}, got 0.001. Did you mean optimizer.lr?",
        f"search.enqueue.1.seed: {searched}, got 1. {known}",
        "search.enqueue.2.data.batch_size: must be in choice(8, 16, 32), got 7.",
        f"search.enqueue.3.optimizer.lr: {lie}, got 'fast'.",
        f"search.enqueue.4.optimizer.lr: {lie}, got None.",
    ]


def test_an_enqueued_path_that_is_not_text_is_reported() -> None:
    with pytest.raises(UserError, match=r"^search\.enqueue\.0"):
        plan_of("search.enqueue=[{3: 4}]")


def test_enqueued_values_must_make_a_valid_run() -> None:
    with pytest.raises(UserError, match=r"data\.batch_size"):
        plan_of("search.enqueue=[{data.batch_size: 8.0}]")


def test_study_without_a_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"search\.space: must search at least one setting"):
        plan_of("search/space=none")


ARMS = "strategy=choice(feature_extraction,lora,full)"


def test_the_default_of_every_arm_comes_first_starting_with_the_default_arm() -> None:
    plan = plan_of(ARMS)
    assert [values["strategy"] for values in plan.first] == ["lora", "feature_extraction", "full"]
    assert [values["optimizer.lr"] for values in plan.first] == [1e-3, 1e-2, 2e-4]
    runs = [plan.run(values) for values in plan.first]
    assert [run.flat()["strategy"] for run in runs] == ["lora", "feature_extraction", "full"]
    assert plan.default == runs[0]


def test_a_trials_configuration_has_only_keys_of_its_strategy() -> None:
    plan = plan_of(ARMS, "strategy.rank=choice(4,16)")
    full = plan.run({**plan.first[2], "optimizer.lr": 1e-4})
    assert full.optimizer.lr == 1e-4 and not hasattr(full.strategy, "rank")
    assert plan.run({**plan.first[0], "strategy.rank": 16}).flat()["strategy.rank"] == 16


def test_an_enqueued_arm_must_search_the_path() -> None:
    with pytest.raises(UserError, match=r"search\.enqueue\.0\.strategy\.rank: full must search it"):
        plan_of(
            ARMS,
            "strategy.rank=choice(4,16)",
            "search.enqueue=[{strategy: full, strategy.rank: 4}]",
        )


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


def test_a_pruner_compares_what_every_trial_measures() -> None:
    plan_of("search.pruner.compare=[validation_loss,metric,log_loss]")
    with pytest.raises(ConfigError) as error:
        plan_of("search.pruner.compare=[metric,log_los]")
    (problem,) = error.value.problems
    assert str(problem).startswith(
        "search.pruner.compare: must be among auto, validation_loss, metric, "
    )
    assert "Did you mean log_loss?" in problem.fix


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
    ],
)
def test_a_pruner_compares_what_chooses_the_best_trial(
    words: tuple[str, ...], compared: list[str]
) -> None:
    pruner = plan_of(*words).search.pruner
    assert isinstance(pruner, ComparingPruner) and pruner.compare == compared


@pytest.mark.parametrize("axis", ["steps", "examples", "epochs", "fraction"])
def test_a_pruner_compares_after_equal_training(axis: str) -> None:
    pruner = plan_of(f"search.pruner.at_equal={axis}").search.pruner
    assert isinstance(pruner, ComparingPruner) and pruner.at_equal is Axis(axis)


def test_the_unit_of_equal_training_is_checked() -> None:
    assert places("search.pruner.at_equal=hours") == ["search.pruner.at_equal"]


def test_losses_differ_if_the_space_changes_the_loss() -> None:
    assert not plan_of().losses_differ
    searched = "task.label_smoothing=interval(0,0.2)"
    assert plan_of(searched).losses_differ
    note = "the pruner compares no validation loss, because the space changes how it is computed"
    assert note in _notes(searched, "search.select=metric")
    assert note in _notes(searched, "search.pruner.compare=[validation_loss,metric]")
    assert note not in _notes(searched)  # the Brier score chooses, and is compared
    assert note not in _notes(searched, "search.pruner.compare=[mcc]")
    assert note not in _notes()


def _notes(*overrides: str) -> str:
    plan = plan_of(*overrides)
    return "\n".join(describe(plan, check_run(plan.default)))


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
    assert places("search.select=log_loss", "search.objectives=[accuracy,seconds]") == [
        "search.select"
    ]


def test_the_rule_cannot_be_searched() -> None:
    with pytest.raises(ConfigError, match=r"trainer.select: must be the same in all trials"):
        plan_of("trainer.select=choice(metric,log_loss)")
