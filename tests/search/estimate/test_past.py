from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from search.estimate.estimate import Pace, Past, estimate, training_seconds
from search.estimate.past import past_of
from search.plan.plan import Plan
from tests.search.estimate.test_estimate import ARMS, ROWS, plan_of


class Trials:
    """Stands in for a study's trials."""

    def __init__(self, folder: Path, trials: list[FrozenTrial]) -> None:
        self.folder = folder
        self.trials = trials

    def params_of(self, trial: FrozenTrial) -> dict[str, Any]:
        return dict(trial.user_attrs["values"])

    def folder_of(self, trial: FrozenTrial) -> Path:
        return self.folder


def trial_of(
    values: Mapping[str, Any], seconds: float, examples: int, span: float = 0.0, **own: Any
) -> FrozenTrial:
    begin = datetime(2026, 1, 1)
    trial = optuna.trial.create_trial(
        state=TrialState.PRUNED,
        intermediate_values={examples // 2: 0.5, examples: 0.5},
        user_attrs={"values": dict(values), "seconds": seconds, "attempt": 1, **own},
    )
    trial.datetime_start = begin
    trial.datetime_complete = begin + timedelta(seconds=span)
    return trial


def past_of_trials(plan: Plan, folder: Path, *trials: FrozenTrial, device: str = "cpu") -> Past:
    kept = Path(__file__).parents[2] / "kept/runs/small/outcome.json"  # an earlier version's
    outcome = json.loads(kept.read_text(encoding="utf-8"))
    (folder / "outcome.json").write_text(json.dumps({**outcome, "hardware": f"{device}, fp32"}))
    return past_of(plan, Trials(folder, list(trials)), 8 * 10**9, ROWS[1])


def test_the_pace_of_earlier_trials_includes_validations(here: Path) -> None:
    plan = plan_of("search.num_trials=4", "trainer.epochs=2")
    trials = (
        trial_of({}, 10.0, 1000, 11.0, memory_bytes=10**9),
        trial_of({}, 30.0, 1000, 33.0, memory_bytes=2 * 10**9),
    )
    past = past_of_trials(plan, here, *trials)
    assert (past.num_ended, past.seconds) == (2, 40.0)
    assert past.measured is not None
    (pace,) = past.measured.paces.values()
    assert pace == Pace(0.02, 0.0, 2.0, 2 * 10**9)
    found = estimate(plan, ROWS, past.measured, past=past)
    assert found.seconds == pytest.approx(2 * (2 * 600 * 0.02 + 2.0))
    assert (found.fits, found.as_dict()["num_measured_trials"]) == (True, 2)


def test_gpu_memory_is_not_compared_with_main_memory(here: Path) -> None:
    trial = trial_of({}, 10.0, 1000, memory_bytes=10**12)
    past = past_of_trials(plan_of(), here, trial, trial, device="cuda")
    assert past.measured is not None and past.measured.free_bytes is None


def test_one_trial_or_an_arm_without_trials_is_not_enough(here: Path) -> None:
    assert past_of_trials(plan_of(), here, trial_of({}, 10.0, 1000)).measured is None
    lora = trial_of({"strategy": "lora"}, 10.0, 1000)
    assert past_of_trials(plan_of(ARMS), here, lora, lora).measured is None
    full = trial_of({"strategy": "full"}, 20.0, 1000)
    past = past_of_trials(plan_of(ARMS), here, lora, full)
    assert past.measured is not None
    assert past.measured.paces[("full",)].train == 0.02


def test_trials_without_training_give_the_pace_of_validation(here: Path) -> None:
    asked = "strategy=choice(prompting,full)"
    plan = plan_of(asked, "trainer.epochs=1", "search.num_trials=4", "search.max_hours=1")
    prompting = trial_of({"strategy": "prompting"}, 10.0, 0, 11.0)
    full = trial_of({"strategy": "full"}, 30.0, 600, 31.0)
    past = past_of_trials(plan, here, prompting, full, prompting)
    assert past.measured is not None
    assert past.measured.paces[("prompting",)] == Pace(0.0, 10.0 / ROWS[1], 1.0, None)
    values = {"strategy": "prompting"}
    assert training_seconds(plan, values, past.measured, ROWS) == pytest.approx(10.0)
    # A trial that failed before its validation gives no pace.
    failed = trial_of({"strategy": "prompting"}, 10.0, 0)
    failed.intermediate_values = {}
    assert past_of_trials(plan, here, failed, full, full).measured is None
