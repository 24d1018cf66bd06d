"""What a loop tells of a trial's end, and what the study makes of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy
import pytest

from lightning_modules.error import UserError
from lightning_modules.outcome import Ending
from search.report.results import rows, status
from search.storage.attribute import CURVE, METRICS, REASON
from search.storage.curve import points_of
from search.study.ask import ask
from search.study.report import report
from search.study.study import Study
from search.study.tell import Told, result_of, tell
from tests.search.study.test_ask import asked_study


@pytest.fixture
def study(here: Path) -> Study:
    """Return a study whose first trial was asked for."""
    study = asked_study(here, "search.num_trials=3")
    assert ask(study) is not None
    return study


def told(study: Study, number: int = 0, attempt: int = 1, **parts: Any) -> Told:
    return tell(study, number, result_of("score", **parts), attempt)


def test_a_value_finishes_a_trial(study: Study) -> None:
    assert told(study, value=numpy.float32(0.5), metrics={"f1": 1}) == Told(
        Ending.finished, "told by its loop"
    )
    assert study.best is not None and study.best.number == 0
    (row,) = rows(study)
    assert (row["state"], row["value"], row["best"]) == ("complete", 0.5, True)
    assert (row["validation/score"], row["validation/f1"], row["attempts"]) == (0.5, 1.0, 1)
    assert 0 <= row["seconds"] < 600
    assert status(study)["best"]["metrics"] == {"score": 0.5, "f1": 1.0}
    with pytest.raises(UserError, match="trial: must not have ended, got 0, which is complete"):
        told(study, value=0.6)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_no_result(study: Study, value: float) -> None:
    with pytest.raises(UserError, match=f"value: must be a finite number, got {value}. .*diverged"):
        told(study, value=value)
    assert study.trial(0).state.name == "RUNNING"  # it can still be told


@pytest.mark.parametrize(
    ("parts", "ending", "violated"),
    [
        ({"reason": "out of memory"}, "infeasible", True),
        ({"ending": "diverged", "reason": "loss is NaN"}, "diverged", True),
        ({"ending": "pruned", "reason": "looked bad"}, "pruned", False),
    ],
)
def test_without_a_value_the_sampler_learns_why(
    study: Study, parts: dict[str, str], ending: str, violated: bool
) -> None:
    assert told(study, **parts) == Told(Ending(ending), parts["reason"])
    trial = study.trial(0)
    assert trial.state.name == "PRUNED" and trial.user_attrs[REASON] == parts["reason"]
    assert (f"constraints:{ending}" in trial.system_attrs) is violated
    assert study.best is None


def test_a_failed_attempt_is_tried_again_until_there_were_too_many(study: Study) -> None:
    for attempt in (1, 2):
        end = told(study, attempt=attempt, ending="failed", reason="the disk broke")
        assert end.is_retried
        again = ask(study)
        assert again is not None and (again.number, again.attempt) == (0, attempt + 1)
    end = told(study, attempt=3, ending="failed", reason="the disk broke")
    assert end == Told(Ending.failed, "3 attempts made no progress; the last: the disk broke")
    assert study.trial(0).state.name == "FAIL"


def test_an_interrupted_attempt_does_not_count(study: Study) -> None:
    for attempt in range(1, 6):
        assert told(study, attempt=attempt, ending="interrupted").is_retried
        assert ask(study) is not None
    assert told(study, attempt=6, value=0.1).ending is Ending.finished


@pytest.mark.parametrize(
    "curve", [[0.1, {"score": 0.2, "loss": 0.5}], {1: 0.1, 2: {"loss": 0.5, "score": 0.2}}]
)
def test_a_curve_is_stored_as_if_it_had_been_reported(study: Study, curve: Any) -> None:
    told(study, value=0.2, curve=curve)
    trial = study.trial(0)
    assert trial.intermediate_values == {1: 0.1, 2: 0.2}
    points = points_of(trial.system_attrs[CURVE])
    assert [point.step for point in points] == [1, 2]
    assert (points[1].validation_loss, points[1].metrics["score"]) == (0.5, 0.2)


def test_a_trial_that_was_advised_to_stop_is_pruned_whatever_is_told(study: Study) -> None:
    assert report(study, 0, 1, {"score": 0.3}) is None
    advice = report(study, 0, 2, {"loss": math.nan})
    assert advice is not None
    assert told(study, value=math.nan) == Told(Ending.diverged, "loss was nan at step 2")
    trial = study.trial(0)
    assert (trial.state.name, trial.values) == ("PRUNED", [0.3])  # as Optuna has it
    assert trial.user_attrs[METRICS] == {}


def test_a_loop_that_goes_on_against_advice_can_finish(study: Study) -> None:
    advice = report(study, 0, 2, {"loss": math.inf})
    assert advice is not None and report(study, 0, 3, {"loss": 0.4}) == advice
    assert told(study, value=0.9, ending="finished").ending is Ending.finished


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        ({}, "value: must be set, or else a reason, got nothing"),
        ({"value": "0.5"}, "value: must be a number, got '0.5'"),
        ({"value": True}, "value: must be a number, got True"),
        ({"ending": "finished"}, "value: a finished trial must have its score"),
        ({"value": 0.5, "ending": "diverged"}, "value: must not be set if the ending is diverged"),
        ({"reason": "x", "ending": "diverge"}, "ending: must be one of.*Did you mean diverged?"),
        ({"value": 0.5, "metrics": {"f1": math.nan}}, "metrics.f1: must be a finite number"),
        ({"value": 0.5, "curve": [math.nan]}, "curve.1.score: must be a finite number"),
        ({"value": 0.5, "curve": {0.5: 1}}, "curve: a step must be a whole number >= 0, got 0.5"),
        ({"value": 0.5, "seconds": -1}, "seconds: must be >= 0, got -1"),
    ],
)
def test_a_slip_is_one_line_and_changes_nothing(
    study: Study, parts: dict[str, Any], line: str
) -> None:
    with pytest.raises(UserError, match=line.replace("?", r"\?")) as error:
        told(study, **parts)
    assert len(error.value.problems) == 1
    assert study.trial(0).state.name == "RUNNING"


def test_a_trial_that_nobody_asked_for_is_refused(study: Study) -> None:
    with pytest.raises(UserError, match="trial: must be a trial of study s, 0 to 0, got 7"):
        told(study, number=7, value=0.5)
