"""Studies with any number of trials, written to a storage in one transaction, without training."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from lightning_modules.folder import table_file
from lightning_modules.outcome import RowScores
from lightning_modules.task.base import MISTAKES
from lightning_modules.task.metric.confusion import CONFUSION, confusion_records
from search.config import compose
from search.machine.provenance import PROVENANCE_FILE, provenance
from search.plan.build import build_plan
from search.plan.plan import Plan
from search.space.space import Parameter
from search.storage import attribute as keys
from search.storage.add import add_trials
from search.storage.failure import FailedAttempt, FailureKind
from search.storage.location import study_folder
from search.study.attempt import relative_folder
from search.study.open import create_or_update
from search.study.study import Study

START = datetime(2026, 1, 2, 3, 4, 5)
STATES = ("complete", "complete", "pruned")
ROWS = 200
SIX = "strategy=choice(lora,full,feature_extraction,bitfit,freeze,ia3)"
KINDS: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "one": (["complete"], ()),
    "twelve": (["complete", "complete", "pruned"] * 4, ()),
    "failed": (["fail"] * 3, ()),
    "several": (["complete"] * 8, ("search.objectives=[accuracy,seconds]",)),
    "arms": (["complete"] * 6 + ["complete", "pruned"] * 6, (SIX, "search.arms=joint")),
    "running": (["complete", "pruned", "running", "waiting"], ()),
}
"""Kinds of study: the states of its trials, and overrides."""


def study_of(
    root: Path,
    name: str,
    states: Sequence[str],
    *words: str,
    best: float = 0.8,
    num_trials: int | None = None,
) -> Study:
    """Return a study with one trial per state, of which trial 0 is the default.

    Args:
        root: The folder in which it is started.
        name: Its name.
        states: `complete`, `pruned`, `fail`, `running` or `waiting`, per trial.
        words: Overrides.
        best: About the best accuracy.
        num_trials: Its budget; None has as many as states.

    """
    budget = f"search.num_trials={num_trials or len(states)}"
    fixed = [f"study={name}", "model=tiny", "logger=none", "search.certify=false", budget]
    plan = build_plan(compose("sweep", [*fixed, *words]))
    folder = study_folder(root, plan.name)
    folder.mkdir(parents=True, exist_ok=True)
    study = create_or_update(plan, folder, "fingerprint")
    made = templates(plan, states, best)
    add_trials(study.tables, study.id, len(states), made, again=True)
    (folder / PROVENANCE_FILE).write_text(json.dumps(provenance(0, "fingerprint")))
    for trial in study.trials[:50]:
        if trial.state is TrialState.COMPLETE:
            write_tables(study.folder_of(trial), trial.values[0])
    return study


def templates(plan: Plan, states: Sequence[str], best: float) -> Iterator[FrozenTrial]:
    """Yield trials whose accuracy depends on the learning rate most, and on the arm."""
    draw = random.Random(0)
    arms = list(plan.space.arms.items())
    for number, state in enumerate(states):
        options, arm = arms[number % len(arms)]
        values: dict[str, Any] = dict(zip(plan.space.groups, options, strict=True))
        values |= {path: drawn(draw, parameter) for path, parameter in arm.items()}
        if number < len(plan.defaults_of_arms):
            values = dict(plan.defaults_of_arms[number])
        yield template(plan, number, state, values, best, draw)


def drawn(draw: random.Random, parameter: Parameter) -> Any:
    if parameter.values is not None:
        return draw.choice(list(parameter.values))
    low, high = parameter.corners
    return math.exp(draw.uniform(math.log(low), math.log(high)))


def template(
    plan: Plan,
    number: int,
    state: str,
    values: Mapping[str, Any],
    best: float,
    draw: random.Random,
) -> FrozenTrial:
    params = plan.space.by_name(values) if plan.space.holds(values) else {}
    rate = math.log10(values.get("optimizer.lr", 1e-3))
    accuracy = best - 0.04 * (rate + 2.6) ** 2 + draw.gauss(0, 0.01)
    arms = list(plan.space.arms)
    accuracy = min(0.99, accuracy - 0.02 * arms.index(plan.space.options_of(values)))
    length = 6 if state == "complete" else 2
    curve = [point(at, accuracy, draw) for at in range(1, length + 1)]
    seconds, start = draw.uniform(20, 60), START + timedelta(seconds=25 * number)
    user = {
        keys.ATTEMPT: 1,
        keys.FOLDER: relative_folder(number, 1),
        keys.WORKER: f"host-{number % 2}",
        keys.SECONDS: round(seconds, 3),
        keys.REASON: {"fail": "3 attempts made no progress; the last: ValueError: <b>no</b>"}.get(
            state, f"rank {number % 4 + 1} of 4 at its validation 2"
        ),
        keys.THREADS: 1,
        keys.MEMORY: 700_000_000 + 1000 * number,
        keys.TRAINABLE: 66,
    }
    if state == "complete":
        user |= {
            keys.METRICS: curve[-1][5],
            keys.VERDICT: "neither overfits nor underfits: both losses levelled off",
            keys.BEST_EPOCH: 3.0,
            keys.REASON: "trained to the end, epoch 3",
        }
    if state == "fail":
        end = FailedAttempt(1, FailureKind.failed, "ValueError: <b>no</b>", 0, "host-0")
        user[keys.ATTEMPTS] = [end.as_dict()]
    if not params:
        user[keys.VALUES] = dict(values)
    right = [float(draw.random() < accuracy) for _ in range(ROWS)]
    is_over = state in ("complete", "pruned", "fail")
    trial = create_trial(
        state=TrialState[state.upper()],
        params=params,
        distributions={name: plan.space.parameters[name].distribution for name in params},
        values=[objective_value(each.name, accuracy, seconds) for each in plan.objectives]
        if state == "complete"
        else None,
        user_attrs=user if state != "waiting" else {},
        system_attrs={
            keys.CURVE: curve,
            keys.ROW_SCORES: RowScores("rows", tuple(right)).as_dict(),
        }
        if state != "waiting"
        else {},
        intermediate_values={each[1]: each[5]["accuracy"] for each in curve}
        if state != "waiting"
        else {},
    )
    trial.datetime_start = None if state == "waiting" else start
    trial.datetime_complete = start + timedelta(seconds=seconds) if is_over else None
    return trial


def objective_value(name: str, accuracy: float, seconds: float) -> float:
    return accuracy if name == "validation/accuracy" else seconds


def point(at: int, accuracy: float, draw: random.Random) -> list[Any]:
    score = accuracy - 0.3 * 0.5**at + draw.gauss(0, 0.004) * (at < 6)
    metrics = {
        "accuracy": round(score, 4),
        "macro_f1": round(score - 0.01, 4),
        "mcc": round(2 * score - 1, 4),
        "log_loss": round(1.2 - score, 4),
        "brier": round(1 - score, 4),
    }
    return [10 * at, 300 * at, at / 2, round(1.15 - score, 4), round(1.2 - score, 4), metrics]


def write_tables(folder: Path, accuracy: float) -> None:
    """Write the confusion matrix and the wrong examples of a trial."""
    folder.mkdir(parents=True, exist_ok=True)
    right = round(accuracy * 100)
    tables = {
        CONFUSION: confusion_records(
            ["negative", "positive"], [[right, 100 - right], [100 - right, right]]
        ),
        MISTAKES: [
            {
                "text": f"The meal {at} was <script>alert(1)</script> & good",
                "label": "positive",
                "predicted": "negative",
            }
            for at in range(100 - right)
        ],
    }
    for name, rows in tables.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / table_file(name)).write_text(text)
