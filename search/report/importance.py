"""Which settings distinguish the best trials: PED-ANOVA importances.

They measure how much each setting's distribution among the best tenth of the trials differs from
that among all trials, as shares of 1. They show what to choose well, not what changes scores most;
with few trials they are rough.

Paper: Watanabe et al. 2023, PED-ANOVA, arXiv:2304.10255.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_modules.task.base import Direction
from search.study.study import Study

if TYPE_CHECKING:
    from optuna.importance._base import BaseImportanceEvaluator
    from optuna.trial import FrozenTrial

MIN_TRIALS = 8


def importances(study: Study) -> dict[str, dict[str, float]]:
    """Return shares of the first objective by config path, for each arm by its options.

    In a study over arms, `""` has the shares of choosing among them, and each arm's shares come
    from its own trials, because learning rates of different strategies cannot be compared. Arms
    with too few trials are left out.
    """
    trials = [
        trial for trial in study.considered if trial.state.name == "COMPLETE" and trial.params
    ]
    space = study.plan.space
    by_arm: dict[str, dict[str, float]] = {}
    if space.groups:
        by_arm[""] = _rounded(study, trials, list(space.groups))
    for options, arm in space.arms.items():
        own = with_options(study, trials, options)
        found = _rounded(study, own, [parameter.name for parameter in arm.values()])
        names = {parameter.name: path for path, parameter in arm.items()}
        by_arm[" ".join(options)] = {names[name]: share for name, share in found.items()}
    return {arm: found for arm, found in by_arm.items() if found}


def with_options(
    study: Study, trials: Sequence[FrozenTrial], options: tuple[str, ...]
) -> list[FrozenTrial]:
    """Return those of the trials that chose an arm."""
    space = study.plan.space
    return [trial for trial in trials if space.options_of(study.params_of(trial)) == options]


def shares(
    trials: Sequence[FrozenTrial],
    names: list[str],
    direction: Direction,
    evaluator: BaseImportanceEvaluator,
    *,
    is_normalized: bool,
) -> dict[str, float]:
    """Return the importance of each of Optuna's parameters for the first objective.

    Args:
        trials: Finished trials; those without one of the parameters do not count.
        names: The parameters.
        direction: That of the objective.
        evaluator: Optuna's method.
        is_normalized: Whether the importances sum to 1.

    """
    import optuna

    part = optuna.create_study(direction=direction)  # in memory, with only these trials
    part.add_trials(
        [
            optuna.trial.create_trial(
                params={name: trial.params[name] for name in names},
                distributions={name: trial.distributions[name] for name in names},
                value=trial.values[0],
            )
            for trial in trials
            if all(name in trial.params for name in names)
        ]
    )
    found = evaluator.evaluate(part, params=names)
    total = math.fsum(found.values()) if is_normalized else 1.0
    return {name: float(share) / (total or 1.0) for name, share in found.items()}


def _rounded(study: Study, trials: Sequence[FrozenTrial], names: list[str]) -> dict[str, float]:
    import optuna

    if len(trials) < MIN_TRIALS or not names:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    direction = study.plan.objectives[0].direction
    found = shares(trials, names, direction, evaluator, is_normalized=True)
    return {name: round(share, 4) for name, share in found.items()}
