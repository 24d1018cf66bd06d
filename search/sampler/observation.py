"""What a sampler may learn from trials that did not finish.

Optuna's GP and CMA-ES read finished trials alone. If most trials are pruned or diverge, they learn
from the rest, and go where most fail. So every ended trial is shown to them as a finished one:

- a trial that diverged or does not fit into memory: with the worst finished value of each
  objective;
- a pruned trial: with its last reported value, but none better than the middle of the finished
  values. It was stopped early, so the value says less than a finished one.

Before a trial has finished there is no value to use, and nothing is shown.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_CONSTRAINT = "constraints:"  # the attribute of a diverged or infeasible trial begins with it


def is_infeasible(trial: FrozenTrial) -> bool:
    """Return whether the trial diverged or did not fit into memory."""
    return any(name.startswith(_CONSTRAINT) for name in trial.system_attrs)


def losses(trials: Sequence[FrozenTrial], signs: Sequence[int]) -> Mapping[int, list[float]]:
    """Return the losses of every ended trial by its number, lower is better.

    Args:
        trials: The trials of a study.
        signs: 1 for each objective to minimize, -1 for each to maximize.

    """
    finished = {
        t.number: [sign * value for sign, value in zip(signs, t.values, strict=True)]
        for t in trials
        if t.state.name == "COMPLETE"
    }
    if not finished:
        return {}
    columns = list(zip(*finished.values(), strict=True))
    worst = [max(column) for column in columns]
    middle = [statistics.median(column) for column in columns]
    shown = dict(finished)
    for trial in trials:
        if trial.state.name == "PRUNED":
            shown[trial.number] = list(worst)
            if len(signs) == 1 and trial.intermediate_values and not is_infeasible(trial):
                last = signs[0] * trial.intermediate_values[max(trial.intermediate_values)]
                shown[trial.number] = [min(max(last, middle[0]), worst[0])]
    return shown


def signs_of(study: Any) -> list[int]:
    """Return 1 for each objective of an Optuna study to minimize, -1 for each to maximize."""
    return [1 if direction.name == "MINIMIZE" else -1 for direction in study.directions]


class AllFinished:
    """A study that shows every ended trial as a finished one, see the top of this file."""

    def __init__(self, study: Any) -> None:
        self._study = study

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(
        self, deepcopy: bool = True, states: Any = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return self.get_trials(deepcopy, states)

    def get_trials(self, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        trials = self._study.get_trials(deepcopy=deepcopy)
        signs = signs_of(self._study)
        shown = losses(trials, signs)
        all_trials = [_finished(t, shown.get(t.number), signs) for t in trials]
        return [t for t in all_trials if states is None or t.state in states]


def _finished(
    trial: FrozenTrial, values: Sequence[float] | None, signs: Sequence[int]
) -> FrozenTrial:
    from optuna.trial import TrialState

    if trial.state is not TrialState.PRUNED or values is None:
        return trial
    shown = copy.copy(trial)
    shown.state = TrialState.COMPLETE
    # Its value says how bad it is. Optuna's GP would model constraints beside it, and wants the
    # same ones of every trial.
    attributes = trial.system_attrs.items()
    shown.system_attrs = {k: v for k, v in attributes if not k.startswith(_CONSTRAINT)}
    shown.values = [sign * value for sign, value in zip(signs, values, strict=True)]
    return shown
