"""What a sampler may learn from trials that did not finish, or that must not win.

Optuna's GP and CMA-ES read finished trials alone. If most trials are pruned or diverge, they learn
from the rest, and go where most fail. So every ended trial is shown to them as a finished one:

- a finished trial that violates a constraint, e.g. breaks a guard: worse than all that hold, by the
  span of all finished values. If none holds, all are shown with the size of their violation, so the
  sampler looks for a smaller one;
- a trial that diverged or does not fit into memory: with the worst value of each objective;
- a pruned trial: with its last reported value, but none better than the middle of the finished
  values that hold. It was stopped early, so the value says less than a finished one.

Before a trial has finished there is no value to use, and nothing is shown.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_CONSTRAINT = "constraints:"  # the attribute of a constraint begins with it; > 0 violates it


def is_infeasible(trial: FrozenTrial) -> bool:
    """Return whether the trial diverged, did not fit into memory or breaks a guard."""
    return violation(trial) > 0


def violation(trial: FrozenTrial) -> float:
    """Return by how much the trial violates its constraints in all; 0 if it does not."""
    names = [name for name in trial.system_attrs if name.startswith(_CONSTRAINT)]
    return sum(max(0.0, float(trial.system_attrs[name])) for name in names)


def losses(trials: Sequence[FrozenTrial], signs: Sequence[int]) -> Mapping[int, list[float]]:
    """Return the losses of every ended trial by its number, lower is better.

    Args:
        trials: The trials of a study.
        signs: 1 for each objective to minimize, -1 for each to maximize.

    """
    finished = [trial for trial in trials if trial.state.name == "COMPLETE"]
    if not finished:
        return {}
    infeasible = {trial.number for trial in finished if is_infeasible(trial)}
    held = [trial for trial in finished if trial.number not in infeasible]
    if held:
        shown = _with_broken(finished, infeasible, signs)
    else:
        shown = {trial.number: [violation(trial)] * len(signs) for trial in finished}
    worst = [max(column) for column in zip(*shown.values(), strict=True)]
    middle = [
        statistics.median(each) for each in zip(*(shown[t.number] for t in held), strict=True)
    ]
    for trial in trials:
        if trial.state.name == "PRUNED":
            shown[trial.number] = list(worst)
            has_value = held and len(signs) == 1 and trial.intermediate_values
            if has_value and not is_infeasible(trial):
                last = signs[0] * trial.intermediate_values[max(trial.intermediate_values)]
                shown[trial.number] = [min(max(last, middle[0]), worst[0])]
    return shown


def _with_broken(
    finished: Sequence[FrozenTrial], infeasible: Collection[int], signs: Sequence[int]
) -> dict[int, list[float]]:
    """Return the losses of finished trials, the infeasible ones behind all others."""
    values = {
        trial.number: [sign * value for sign, value in zip(signs, trial.values, strict=True)]
        for trial in finished
    }
    columns = list(zip(*values.values(), strict=True))
    beyond = [2 * max(column) - min(column) for column in columns]
    beyond = [
        each if each > max(column) else each + 1.0
        for each, column in zip(beyond, columns, strict=True)
    ]
    return {**values, **{number: list(beyond) for number in infeasible}}


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

    attributes = trial.system_attrs.items()
    others = {k: v for k, v in attributes if not k.startswith(_CONSTRAINT)}
    is_plain = trial.state is TrialState.COMPLETE and len(others) == len(trial.system_attrs)
    if is_plain or values is None:
        return trial
    shown = copy.copy(trial)
    shown.state = TrialState.COMPLETE
    # Its value says how bad it is. Optuna's GP would model constraints beside it, and wants the
    # same ones of every trial.
    shown.system_attrs = others
    shown.values = [sign * value for sign, value in zip(signs, values, strict=True)]
    return shown
