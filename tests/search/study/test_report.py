"""What a loop reports of a trial, and when it is told to stop."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from lightning_modules.error import UserError
from lightning_modules.outcome import Ending
from search.report.results import snapshot
from search.storage.attribute import CURVE
from search.storage.curve import points_of
from search.storage.tables import WORKERS
from search.study.ask import ask
from search.study.report import report
from search.study.study import Study
from search.study.tell import result_of, tell
from tests.search.study.test_ask import SHORT, asked_study


def trained(study: Study, loss: float, steps: int = 6) -> str | None:
    """Ask for a trial, report a falling loss, and tell its end; return why it was stopped."""
    attempt = ask(study)
    assert attempt is not None
    for step in range(1, steps + 1):
        advice = report(study, attempt.number, 10 * step, {"loss": loss + 1 / step})
        if advice is not None:
            tell(study, attempt.number, result_of("score", 1 - loss))
            return advice.reason
    tell(study, attempt.number, result_of("score", 1 - loss))
    return None


def test_a_bad_trial_is_stopped_once_enough_have_finished(here: Path) -> None:
    study = asked_study(here, "search.num_trials=12")
    assert [trained(study, loss) for loss in (0.1, 0.2)] == [None] * 2
    reason = trained(study, 0.9)
    assert reason is not None and reason.startswith("at its pace it would not reach the best trial")
    trial = study.trial(2)
    assert trial.state.name == "PRUNED" and trial.user_attrs["reason"] == reason
    assert trained(study, 0.05) is None
    assert study.best is not None and study.best.number == 3


def test_without_a_loss_the_objective_is_compared(here: Path) -> None:
    study = asked_study(here, "search.num_trials=12")
    for score in (0.9, 0.8, 0.7, 0.6, 0.1):
        attempt = ask(study)
        assert attempt is not None
        advice = None
        for step in range(1, 5):
            advice = advice or report(study, attempt.number, step, {"score": score - 1 / step})
        tell(study, attempt.number, result_of("score", score))
    assert study.trial(4).state.name == "PRUNED"
    assert study.trial(4).intermediate_values[1] == pytest.approx(-0.9)


def test_each_report_renews_the_lease(here: Path) -> None:
    study = asked_study(here, "search.num_trials=1", "search.ask_hours=1e-3")  # 3.6 s

    def renewed() -> float:
        with study.tables.engine.begin() as connection:
            return float(connection.execute(WORKERS.select()).one().renewed)

    ask(study)
    first = renewed()
    time.sleep(0.05)
    report(study, 0, 1, {"loss": 0.5})
    assert renewed() > first


def test_a_late_report_is_refused(here: Path) -> None:
    study = asked_study(here, "search.num_trials=1", SHORT)
    ask(study)
    time.sleep(0.1)
    assert ask(study) is not None
    with pytest.raises(UserError, match=r"attempt 1 must have its lease.* write trial=0.2"):
        report(study, 0, 1, {"loss": 0.5})
    assert report(study, 0, 1, {"loss": 0.5}, attempt=2) is None


def test_a_restarted_attempt_replaces_the_curve_from_its_first_step_on(here: Path) -> None:
    study = asked_study(here, "search.num_trials=1")
    ask(study)
    for step in (1, 2, 3):
        report(study, 0, step, {"loss": 1 / step, "score": step / 10})
    tell(study, 0, result_of("score", ending="interrupted"))
    ask(study)
    report(study, 0, 2, {"loss": 0.4, "score": 0.6}, attempt=2)
    trial = study.trial(0)
    assert trial.intermediate_values == {1: 0.1, 2: 0.6}
    losses = [point.validation_loss for point in points_of(trial.system_attrs[CURVE])]
    assert losses == [1.0, 0.4]


def test_a_step_may_be_repeated_but_not_fall(here: Path) -> None:
    study = asked_study(here)
    ask(study)
    report(study, 0, 5, {"loss": 0.5})
    report(study, 0, 5, {"loss": 0.4})
    assert len(points_of(study.trial(0).system_attrs[CURVE])) == 1
    with pytest.raises(UserError, match="step: must be >= 5, the last reported one, got 4"):
        report(study, 0, 4, {"loss": 0.3})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_diverged_loss_is_a_reason_to_stop(here: Path, value: float) -> None:
    study = asked_study(here)
    ask(study)
    advice = report(study, 0, 7, {"loss": value})
    assert advice is not None
    assert (advice.ending, advice.reason) == (Ending.diverged, f"loss was {value} at step 7")


def test_a_report_needs_what_the_pruner_compares(here: Path) -> None:
    study = asked_study(here)
    ask(study)
    for metrics in ({}, {"f1": 0.5}):
        with pytest.raises(UserError, match=r"must have loss or score, got (nothing|f1)"):
            report(study, 0, 1, metrics)


def test_the_live_table_shows_the_curve(here: Path) -> None:
    study = asked_study(here)
    ask(study)
    report(study, 0, 1, {"score": 0.25, "loss": 0.7})
    (row,) = snapshot(study).rows
    assert (row.state, row.curve) == ("running", (0.25,)) and row.seconds is not None


def test_a_later_report_takes_no_advice_back(here: Path) -> None:
    study = asked_study(here, "search.num_trials=1")
    ask(study)
    first = report(study, 0, 1, {"loss": math.nan})
    assert first is not None and report(study, 0, 2, {"loss": 0.3}) == first
    assert tell(study, 0, result_of("score", 0.9)).ending is Ending.diverged
    assert study.best is None
