"""How much each setting matters, by two methods, with intervals.

PED-ANOVA (`search.report.importance`) says what sets the best tenth of the trials apart from all of
them. fANOVA (Hutter et al. 2014) says which share of the variance of the scores a setting explains
alone, averaged over all others. They answer different questions, and need not agree.

Learning rates of different strategies cannot be compared, so each arm has influences of its own;
that of the choice of the arm is the share of the variance between the arms, corrected for their
number: 1 - (SSW / (n - k)) / (SST / (n - 1)) for k arms and n trials.

Intervals are rough: of PED-ANOVA and of the arm by a jackknife over `NUM_GROUPS` groups of trials,
of fANOVA from tree to tree, each of which saw another bootstrap sample of the trials.

Cost on one core: 20 ms to 0.1 s for PED-ANOVA, and for fANOVA 1 s for scikit-learn and some 0.5 s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from search.report.importance import shares, with_options
from search.report.thin import evenly
from search.study.gain import t_quantile
from search.study.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

MIN_TRIALS = 20
"""Fewer finished trials are too few to tell."""
MAX_TRIALS = 200
"""More trials are thinned evenly for fANOVA, whose cost grows faster than their number."""
MAX_APART = 1000
"""More trials are thinned evenly for PED-ANOVA, which takes 2 ms a trial with its jackknife."""
NUM_GROUPS = 8
NUM_TREES = 16


@dataclass(frozen=True)
class Share:
    """A share of 1 with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Influence:
    """How much the settings of one arm matter.

    Attributes:
        arm: The arm; "" in a study with a single one.
        num_trials: Its finished trials.
        apart: What sets its best trials apart (PED-ANOVA), by config path; empty if there are too
            few trials to tell.
        variance: Which share of the variance of its scores a setting explains (fANOVA).

    """

    arm: str
    num_trials: int
    apart: Mapping[str, Share]
    variance: Mapping[str, Share]

    @property
    def order(self) -> list[str]:
        """The config paths, the most important one first."""
        return sorted(self.apart, key=lambda path: -self.apart[path].value)


@dataclass(frozen=True)
class Influences:
    """How much the settings of a study matter.

    Attributes:
        arms: Each arm's.
        choice: The share of the variance of the scores that the choice of the arm explains; None
            with a single arm, or if there are too few trials to tell.

    """

    arms: tuple[Influence, ...] = ()
    choice: Share | None = None


def influences(study: Study) -> Influences:
    """Return how much each setting of a study matters for its first objective."""
    trials = [t for t in study.considered if t.state.name == "COMPLETE" and t.params]
    arms = tuple(_influence(study, trials, options) for options in study.plan.space.arms)
    by_arm = [[t.values[0] for t in with_options(study, trials, o)] for o in study.plan.space.arms]
    return Influences(arms, _choice([scores for scores in by_arm if len(scores) > 1]))


def _influence(study: Study, trials: Sequence[FrozenTrial], options: tuple[str, ...]) -> Influence:
    import optuna

    own = with_options(study, trials, options)
    paths = {parameter.name: path for path, parameter in study.plan.space.arms[options].items()}
    name, direction = " ".join(options), study.plan.objectives[0].direction
    scores = {trial.values[0] for trial in own}
    if len(own) < MIN_TRIALS or len(scores) < 2 or not paths:
        return Influence(name, len(own), {}, {})
    ped = optuna.importance.PedAnovaImportanceEvaluator()

    def apart(part: Sequence[FrozenTrial]) -> Mapping[str, float]:
        return shares(part, list(paths), direction, ped, is_normalized=True)

    most = evenly(own, MAX_APART)
    few = own[:: math.ceil(len(own) / MAX_TRIALS)]
    trees = [
        shares(few, list(paths), direction, optuna.importance.FanovaImportanceEvaluator(
            n_trees=1, seed=seed
        ), is_normalized=False)
        for seed in range(NUM_TREES)
    ]  # fmt: skip
    return Influence(
        name,
        len(own),
        {paths[each]: share for each, share in _jackknifed(most, apart).items()},
        {paths[each]: _spread([tree[each] for tree in trees]) for each in paths},
    )


def _jackknifed(
    trials: Sequence[FrozenTrial], measure: Callable[[Sequence[FrozenTrial]], Mapping[str, float]]
) -> dict[str, Share]:
    """Return what all trials give, with intervals from leaving out one group after the other."""
    whole = measure(trials)
    parts = [
        measure([trial for at, trial in enumerate(trials) if at % NUM_GROUPS != group])
        for group in range(NUM_GROUPS)
    ]
    return {name: _interval(value, [part[name] for part in parts]) for name, value in whole.items()}


def _interval(value: float, parts: Sequence[float]) -> Share:
    mean = fmean(parts)
    variance = (len(parts) - 1) / len(parts) * math.fsum((each - mean) ** 2 for each in parts)
    half = t_quantile(len(parts) - 1) * math.sqrt(variance)
    return Share(value, max(0.0, value - half), min(1.0, value + half))


def _spread(values: Sequence[float]) -> Share:
    ordered = sorted(values)
    return Share(fmean(ordered), ordered[0], ordered[-1])


def _choice(arms: Sequence[Sequence[float]]) -> Share | None:
    """Return the share of the variance between arms, of those with at least two scores."""
    if len(arms) < 2 or sum(map(len, arms)) < MIN_TRIALS:
        return None
    parts = [
        [[score for at, score in enumerate(arm) if at % NUM_GROUPS != group] for arm in arms]
        for group in range(NUM_GROUPS)
    ]
    return _interval(between(arms), [between([arm for arm in part if arm]) for part in parts])


def between(arms: Sequence[Sequence[float]]) -> float:
    """Return the share of the variance of scores between arms, in [0, 1].

    >>> round(between([[1.0, 1.1, 0.9], [2.0, 2.1, 1.9]]), 3), between([[1.0, 2.0], [1.0, 2.0]])
    (0.968, 0.0)
    """
    scores = [score for arm in arms for score in arm]
    whole, num = fmean(scores), len(scores)
    total = math.fsum((score - whole) ** 2 for score in scores)
    if total == 0 or num <= len(arms):
        return 0.0
    within = math.fsum((score - fmean(arm)) ** 2 for arm in arms for score in arm)
    return max(0.0, 1 - (within / (num - len(arms))) / (total / (num - 1)))
