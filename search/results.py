"""What a study found, as values: its status, its table, its winner."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_modules.atomic import write_text
from search import study as keys
from search.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

TABLE_FILE = "trials.csv"


@dataclass(frozen=True)
class Comparison:
    """The winner against the default configuration, on the validation rows.

    Attributes:
        best: The winner.
        default: The unmodified configuration's trial; None while it has not finished.
        gain: How much better the winner's metric is; None without a default.

    """

    best: FrozenTrial
    default: FrozenTrial | None
    gain: float | None


def status(study: Study) -> dict[str, Any]:
    """Return the study's state as plain values: what `finesweep status --json` prints."""
    trials = study.trials
    counts = Counter(trial.state.name.lower() for trial in trials)
    best = study.best
    num_trials = study.plan.search.settings.num_trials
    return {
        "study": study.plan.name,
        "metric": f"validation/{study.plan.default.task.metric}",
        "direction": study.plan.default.task.direction,
        "states": {
            name: counts.get(name, 0)
            for name in ("complete", "pruned", "fail", "running", "waiting")
        },
        "best": None
        if best is None
        else {
            "number": best.number,
            "value": best.value,
            "params": study.values_of(best),
            "metrics": best.user_attrs[keys.METRICS],
            "verdict": best.user_attrs[keys.VERDICT],
        },
        "num_trials": num_trials,
        "remaining": num_trials - study.num_ended,
        "seconds": round(sum(float(t.user_attrs.get(keys.SECONDS, 0)) for t in trials), 3),
    }


def compare_with_default(study: Study) -> Comparison | None:
    """Return the winner beside the default; None before any trial has finished."""
    best = study.best
    if best is None:
        return None
    values = dict(study.plan.default_values)
    same = [t for t in study.trials if study.values_of(t) == values and t.value is not None]
    default = next((trial for trial in same if trial.state.name == "COMPLETE"), None)
    if default is None or default.value is None or best.value is None:
        return Comparison(best, None, None)
    sign = 1 if study.plan.default.task.direction == "maximize" else -1
    return Comparison(best, default, sign * (best.value - default.value))


def rows(study: Study) -> list[dict[str, Any]]:
    """Return a row a trial: number, state, what it varied, scores, how it ended."""
    metrics = list(study.plan.default.task.directions)
    table = []
    for trial in study.trials:
        attributes = trial.user_attrs
        values, scores = study.values_of(trial), attributes.get(keys.METRICS, {})
        table.append(
            {
                "number": trial.number,
                "state": trial.state.name.lower(),
                "value": trial.value if trial.state.name == "COMPLETE" else None,
                **{path: values.get(path) for path in study.plan.space.distributions},
                **{f"validation/{name}": scores.get(name) for name in metrics},
                "best_epoch": attributes.get(keys.BEST_EPOCH),
                "seconds": attributes.get(keys.SECONDS),
                "attempts": attributes.get(keys.ATTEMPT, 0),
                "reason": attributes.get(keys.REASON),
                "verdict": attributes.get(keys.VERDICT),
            }
        )
    return table


def write_table(study: Study) -> None:
    """Write `trials.csv` to the study's folder."""
    table = rows(study)
    if not table:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    write_text(study.folder / TABLE_FILE, text.getvalue())
