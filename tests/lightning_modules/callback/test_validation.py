from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.cache import Cache
from lightning_modules.callback.validation import is_better
from lightning_modules.check import load_rows
from lightning_modules.outcome import Ending, Point
from lightning_modules.run import Run
from lightning_modules.task.classification import Classification
from lightning_modules.trainer import Select
from tests.conftest import classification
from tests.training import tiny_run, train


def point(value: float, loss: float) -> Point:
    return Point(
        number=1,
        step=1,
        examples=1,
        epoch=1.0,
        train_loss=0.0,
        validation_loss=loss,
        metrics={"accuracy": value, "log_loss": value},
        seconds=0.0,
    )


@pytest.mark.parametrize(
    ("metric", "now", "best", "better"),
    [
        ("accuracy", (0.8, 0.9), (0.7, 0.5), True),
        ("accuracy", (0.7, 0.5), (0.8, 0.9), False),
        ("accuracy", (0.8, 0.5), (0.8, 0.9), True),
        ("accuracy", (0.8, 0.9), (0.8, 0.5), False),
        ("accuracy", (0.8, 0.5), (0.8, 0.5), False),
        ("log_loss", (0.3, 0.3), (0.4, 0.4), True),
        ("log_loss", (0.4, 0.2), (0.4, 0.4), True),
        ("log_loss", (0.5, 0.2), (0.4, 0.4), False),
    ],
)
def test_the_metric_decides_and_the_lower_loss_breaks_a_tie(
    metric: str, now: tuple[float, float], best: tuple[float, float], better: bool
) -> None:
    task = classification(metric)
    assert is_better(point(*now), point(*best), task) is better


@pytest.mark.parametrize(
    ("select", "now", "better"),
    [
        # Of accuracy, log loss and validation loss; the best has 0.8, 0.5 and 0.5.
        ("metric", (0.9, 0.9, 0.9), True),
        ("metric", (0.8, 0.4, 0.6), False),
        ("log_loss", (0.7, 0.4, 0.6), True),
        ("log_loss", (0.9, 0.6, 0.4), False),
        ("log_loss", (0.9, 0.5, 0.6), True),
        ("log_loss", (0.8, 0.5, 0.4), True),
        ("log_loss", (0.8, 0.5, 0.6), False),
    ],
)
def test_the_rule_decides_then_the_metric_then_the_loss(
    select: str, now: tuple[float, float, float], better: bool
) -> None:
    def scored(accuracy: float, log_loss: float, loss: float) -> Point:
        return replace(point(0, loss), metrics={"accuracy": accuracy, "log_loss": log_loss})

    task, best = classification("accuracy"), scored(0.8, 0.5, 0.5)
    assert is_better(scored(*now), best, task, Select(select)) is better


@pytest.mark.parametrize("select", ["metric", "log_loss", "calibrated_log_loss", "brier"])
def test_a_run_keeps_the_epoch_of_its_rule(
    make_run: Callable[..., Run], here: Path, select: str
) -> None:
    run = make_run(f"trainer.select={select}", "trainer.epochs=6", "optimizer.lr=2e-2")
    outcome = train(run, here)
    assert outcome.best is not None
    name = "accuracy" if select == "metric" else select
    values = [point.metrics[name] for point in outcome.points]
    assert outcome.best.metrics[name] == (max if select == "metric" else min)(values)


@pytest.fixture
def make_run(learnable: Path) -> Callable[..., Run]:
    return partial(tiny_run, learnable)


@dataclass(frozen=True, kw_only=True)
class NoScore(Classification):
    """Its metric mcc is NaN once the loss is at most 0.6."""

    def score(self, *arguments: Any) -> dict[str, float]:
        scores = super().score(*arguments)
        return scores if scores["log_loss"] > 0.6 else {**scores, "mcc": math.nan}


def test_a_nan_metric_ends_the_run_as_diverged(make_run: Callable[..., Run], here: Path) -> None:
    run = make_run("trainer.epochs=8")
    outcome = train(replace(run, task=NoScore(**vars(run.task))), here / "run")
    assert outcome.ending is Ending.diverged
    assert outcome.reason.startswith("the mcc became nan at step ")
    assert outcome.best is not None and outcome.best.metrics["log_loss"] > 0.6
    assert all(math.isfinite(point.metrics["mcc"]) for point in outcome.points)


@pytest.mark.parametrize(("patience", "words"), [(1, "1 validation;"), (2, "2 validations;")])
def test_patience_ends_the_run_early(
    make_run: Callable[..., Run], here: Path, patience: int, words: str
) -> None:
    settings = ("trainer.epochs=30", f"trainer.patience={patience}", "trainer.select=metric")
    outcome = train(make_run(*settings), here / "run")
    assert outcome.ending is Ending.finished
    assert f"no better accuracy in {words}" in outcome.reason
    accuracies = [point.metrics["accuracy"] for point in outcome.points]
    last_gain = accuracies.index(max(accuracies)) + 1
    assert outcome.points[-1].number == last_gain + patience
    # Among the points with the best accuracy, the one with the lowest loss is the best.
    assert outcome.best is not None and outcome.best.metrics["accuracy"] == max(accuracies)
    ties = [p for p in outcome.points if p.metrics["accuracy"] == max(accuracies)]
    assert outcome.best.validation_loss == min(point.validation_loss for point in ties)


def test_validations_at_the_same_step_become_one(make_run: Callable[..., Run], here: Path) -> None:
    words = ("data.batch_size=64", "trainer.validations_per_epoch=8", "trainer.epochs=2")
    outcome = train(make_run(*words), here / "run")
    steps = [point.step for point in outcome.points]
    assert steps == sorted(set(steps))
    assert outcome.points[-1].epoch == 2.0


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_time_to_score_the_test_rows_is_that_of_a_validation(
    make_run: Callable[..., Run], here: Path, share: float
) -> None:
    words = (f"data.test_fraction={share}", "data.validation_fraction=0.1", "trainer.epochs=1")
    run = make_run(*words, "trainer.validations_per_epoch=4")
    outcome = train(run, here / "run")
    splits = load_rows(run, Cache()).corpus.splits
    assert ("test" in splits) == bool(share)
    if not share:
        assert outcome.scoring_seconds is None
        return
    assert outcome.scoring_seconds is not None
    validation = outcome.scoring_seconds * len(splits["validation"]) / len(splits["test"])
    last, before = outcome.points[-1], outcome.points[-2]
    assert 0 < validation < last.seconds - before.seconds  # between them are steps, too
