from __future__ import annotations

import pytest

from lightning_modules.error import ConfigError, UserError
from tests.search.plan.conftest import plan_of


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


def test_an_enqueued_arm_must_search_the_path() -> None:
    with pytest.raises(UserError, match=r"search\.enqueue\.0\.strategy\.rank: full must search it"):
        plan_of(
            "strategy=choice(feature_extraction,lora,full)",
            "strategy.rank=choice(4,16)",
            "search.enqueue=[{strategy: full, strategy.rank: 4}]",
        )


def test_a_pruner_compares_what_every_trial_measures() -> None:
    plan_of("search.pruner.compare=[validation_loss,metric,log_loss]")
    with pytest.raises(ConfigError) as error:
        plan_of("search.pruner.compare=[metric,log_los]")
    (problem,) = error.value.problems
    assert str(problem).startswith(
        "search.pruner.compare: must be among auto, validation_loss, metric, "
    )
    assert "Did you mean log_loss?" in problem.fix


def test_the_rule_cannot_be_searched() -> None:
    with pytest.raises(ConfigError, match=r"trainer.select: must be the same in all trials"):
        plan_of("trainer.select=choice(metric,log_loss)")
