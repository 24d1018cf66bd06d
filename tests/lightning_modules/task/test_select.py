"""By which metrics epochs and trials are compared."""

from __future__ import annotations

import pytest

from lightning_modules.task.select import chosen_by
from lightning_modules.trainer import Select
from search.config import build_run, compose


@pytest.mark.parametrize(
    ("task", "metric", "select", "names"),
    [
        ("classification", "accuracy", "metric", ("accuracy",)),
        ("classification", "accuracy", "log_loss", ("log_loss", "accuracy")),
        ("classification", "mcc", "calibrated_log_loss", ("calibrated_log_loss", "mcc")),
        ("classification", "log_loss", "log_loss", ("log_loss",)),
        ("classification", "accuracy", "cautious_log_loss", ("log_loss", "accuracy")),
        ("classification", "accuracy", "cautious_brier", ("brier", "accuracy")),
        ("classification", "brier", "brier", ("brier",)),
        ("token_classification", "entity_f1", "brier", ("entity_f1",)),
        ("token_classification", "entity_f1", "cautious_log_loss", ("entity_f1",)),
        ("multi_label_classification", "micro_f1", "log_loss", ("log_loss", "micro_f1")),
        ("token_classification", "entity_f1", "log_loss", ("entity_f1",)),
        ("regression", "rmse", "auto", ("mse", "rmse")),
        ("regression", "spearman", "log_loss", ("mse", "spearman")),
        ("regression", "spearman", "metric", ("spearman",)),
        ("summarization", "rougeL", "calibrated_log_loss", ("rougeL",)),
    ],
)
def test_the_rule_names_metrics_that_the_task_has(
    task: str, metric: str, select: str, names: tuple[str, ...]
) -> None:
    words = [f"task={task}", f"task.metric={metric}", f"trainer.select={select}"]
    run = build_run(compose("train", words).tree)
    assert run.trainer.select is Select(select)
    assert chosen_by(run.trainer.select, run.task) == names
