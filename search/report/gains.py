"""How much better each trial of a study scored than the default configuration, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from search.study.gain import Gain, gain_of_means, gain_over
from search.study.seeds import SEED, configuration
from search.study.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def gains(study: Study) -> Mapping[int, Gain]:
    """Return the gain of each finished trial over the default, by the trial's number.

    The default has none, and no trial has one if the default has not finished or is dropped. If the
    seed is searched, the gain is that of the configuration's mean.
    """
    default, sign = study.ranking.default, study.plan.objectives[0].sign
    if default is None:
        return {}
    finished = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    if SEED not in study.plan.space.paths:
        others = (trial for trial in finished if trial.number != default.number)
        return {trial.number: gain_over(trial, default, sign) for trial in others}
    groups: dict[str, list[FrozenTrial]] = {}
    for trial in finished:
        groups.setdefault(configuration(study.params_of(trial)), []).append(trial)
    defaults = groups.pop(configuration(study.params_of(default)))
    return {
        trial.number: gain_of_means(group, defaults, sign)
        for group in groups.values()
        for trial in group
    }
