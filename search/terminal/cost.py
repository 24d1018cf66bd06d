"""The score and cost of each arm's best trial, and which of them are worth their time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_modules.machine.file import megabytes
from search.report.text import columns, duration, score
from search.storage.attribute import MEMORY, SECONDS, TRAINABLE
from search.study.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def cost_lines(study: Study) -> list[str]:
    """Return a table of the arms' best trials with their Pareto front; empty for a single arm."""
    best = best_of_arms(study)
    if len(best) < 2:
        return []
    objective = study.plan.objectives[0]
    front = pareto_front([(objective.sign * t.values[0], _seconds(t)) for t in best.values()])
    head = ["best of", "trial", objective.short, "trained", "time", "memory", ""]
    table = [head]
    for number, (options, trial) in enumerate(best.items()):
        attributes = trial.user_attrs
        memory = attributes.get(MEMORY)
        table.append(
            [
                " ".join(options),
                str(trial.number),
                score(trial.values[0]),
                f"{int(attributes[TRAINABLE]):,}",
                duration(_seconds(trial)),
                megabytes(int(memory)) if memory else "-",
                "front" if number in front else "",
            ]
        )
    return [
        *columns(table),
        f"No trial here beats one on the front in both {objective.short} and time.",
    ]


def best_of_arms(study: Study) -> dict[tuple[str, ...], FrozenTrial]:
    """Return each arm's best finished trial, the best arm first."""
    best: dict[tuple[str, ...], FrozenTrial] = {}
    for trial in study.ranking.trials:
        best.setdefault(study.plan.space.options_of(study.params_of(trial)), trial)
    return best


def pareto_front(points: Sequence[tuple[float, float]]) -> set[int]:
    """Return the indices of the (gain, cost) pairs that no other pair dominates.

    >>> sorted(pareto_front([(0.9, 60.0), (0.8, 5.0), (0.8, 9.0), (0.6, 1.0)]))
    [0, 1, 3]
    """
    return {
        number
        for number, (gain, cost) in enumerate(points)
        if not any(
            other[0] >= gain and other[1] <= cost and other != (gain, cost) for other in points
        )
    }


def _seconds(trial: FrozenTrial) -> float:
    return float(trial.user_attrs[SECONDS])
