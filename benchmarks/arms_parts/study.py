"""A study of several arms whose trials take no time, decided by the product's own code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import optuna
from arms_parts.landscape import BATCH_SIZES, NUM_LENGTHS, RANGE, Landscape
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search.config import compose
from search.config.settings import Arms
from search.plan.build import build_plan
from search.plan.opening import LEARNING_RATE
from search.plan.plan import Plan
from search.sampler.base import seeded_sampler
from search.space.space import Options, Parameter, Space
from search.study.arm import decide_arm
from search.study.suggest import candidates, waiting_trial

DEFAULT_LR, BATCH_SIZE, EPOCHS = 1e-3, "data.batch_size", "trainer.epochs"
DEFAULT = {LEARNING_RATE: DEFAULT_LR, BATCH_SIZE: 16, EPOCHS: 1}


@dataclass(frozen=True)
class Arm:
    """An arm of a simulated study.

    Attributes:
        landscape: What it scores.
        default: Decades by which its default learning rate is above the best one.
        height: Points that are added to every score, so that its best one is this.

    """

    landscape: Landscape
    default: float
    height: float

    def score(self, values: Mapping[str, float]) -> float:
        """Return the score of a trial's values, without noise."""
        rate = self.default + float(np.log10(values[LEARNING_RATE] / DEFAULT_LR))
        return self.height + self.landscape.points(
            rate, int(values[BATCH_SIZE]), int(values[EPOCHS])
        )


@dataclass(frozen=True)
class Way:
    """A way to share trials among arms.

    Attributes:
        name: What it is, as the table says it.
        sampler: Option of `search/sampler`; None is the default one.
        arms: As `search.arms`; None gives every arm a study of its own, with equal shares.
        opens: Whether arms begin with their learning rate times 3 and divided by 3.
        halves: Whether the worse half of the arms drops out.
        knows: Whether it tries every setting of every arm once, which takes more trials than the
            study has, so that only noise can mislead it.

    """

    name: str
    sampler: str | None = None
    arms: Arms | None = Arms.turns
    opens: bool = True
    halves: bool = True
    knows: bool = False


@dataclass(frozen=True)
class Chosen:
    """The best trial of a study.

    Attributes:
        arm: Its arm.
        score: Its score without noise.
        trials: Arm and score without noise of every trial of the study.

    """

    arm: int
    score: float
    trials: tuple[tuple[int, float], ...] = ()


def run_study(way: Way, arms: Sequence[Arm], num_trials: int, seed: int, *, noisy: bool) -> Chosen:
    """Return what the study chooses."""
    if way.knows:
        return _best_of_all(arms, seed, noisy=noisy)
    groups = [range(len(arms))] if way.arms is not None else [[arm] for arm in range(len(arms))]
    share = num_trials // len(groups)
    trials = [
        trial
        for number, group in enumerate(groups)
        for trial in _trials(
            way, {at: arms[at] for at in group}, share, (seed, number), noisy=noisy
        )
    ]
    _, chosen = max(trials, key=lambda trial: trial[0])
    return replace(chosen, trials=tuple((each.arm, each.score) for _, each in trials))


def _best_of_all(arms: Sequence[Arm], seed: int, *, noisy: bool) -> Chosen:
    """Return the setting whose score looks best if each one is tried once."""
    chance, best, top = np.random.default_rng((seed, len(arms))), Chosen(0, 0.0), -np.inf
    for at, arm in enumerate(arms):
        scores = arm.height + np.array(arm.landscape.scores(arm.default))
        seen = scores + (chance.normal(0, arm.landscape.noise, len(scores)) if noisy else 0.0)
        if seen.max() > top:
            top, best = seen.max(), Chosen(at, float(scores[seen.argmax()]))
    return best


def _trials(
    way: Way, arms: Mapping[int, Arm], num_trials: int, seed: tuple[int, int], *, noisy: bool
) -> Iterator[tuple[float, Chosen]]:
    """Yield the score that the study sees, and what is behind it."""
    plan = _plan(way, arms, num_trials, seed)
    chance, number = np.random.default_rng(seed), 1000 * seed[0] + seed[1]
    study = optuna.create_study(
        sampler=seeded_sampler(plan.search.sampler, plan.space, number, defaults=plan.first),
        direction="maximize",
    )
    for at_trial in range(num_trials):
        first = plan.first[at_trial] if at_trial < len(plan.first) else {}
        study.add_trial(waiting_trial(plan.space, first))
        trial = study.ask()
        decide_arm(study, at_trial, plan)
        values = next(candidates(study, trial._trial_id, plan, lambda key: False))
        for name, value in plan.space.by_name(values).items():
            distribution = plan.space.parameters[name].distribution
            internal = distribution.to_internal_repr(value)
            study._storage.set_trial_param(trial._trial_id, name, internal, distribution)
        at = int(values.get("strategy", next(iter(arms))))
        score = arms[at].score(values)
        seen = score + (chance.normal(0, arms[at].landscape.noise) if noisy else 0.0)
        study.tell(trial, seen)
        yield seen, Chosen(at, score)


def _plan(way: Way, arms: Mapping[int, Arm], num_trials: int, seed: tuple[int, int]) -> Plan:
    base = _base(way.sampler)
    groups = {"strategy": tuple(map(str, arms))} if len(arms) > 1 else {}
    options: list[Options] = [(str(at),) if groups else () for at in arms]
    settings = replace(base.search.settings, num_trials=num_trials, arms=way.arms or Arms.joint)
    plan = replace(
        base,
        name="-".join(map(str, seed)),
        space=Space(groups, {each: _parameters(each) for each in options}),
        search=replace(base.search, settings=settings),
        objectives=base.objectives * (1 if way.halves else 2),  # with two, no arm drops out
        defaults={(): replace(base.default, seed=1000 * seed[0] + seed[1])},
        first=tuple({**dict(zip(groups, each, strict=True)), **DEFAULT} for each in options),
    )
    if not way.opens:
        plan.__dict__["openings"] = dict.fromkeys(options, ())
    return plan


@cache
def _base(sampler: str | None) -> Plan:
    words = ["model=tiny", "logger=none"] + ([f"search/sampler={sampler}"] if sampler else [])
    return build_plan(compose("sweep", words))


def _parameters(options: Options) -> dict[str, Parameter]:
    """Return an arm's parameters; only the learning rate has a range of its own."""
    low, high = DEFAULT_LR / 10**RANGE, DEFAULT_LR * 10**RANGE
    name = f"{LEARNING_RATE}[{options[0]}]" if options else LEARNING_RATE
    found = (
        Parameter(name, LEARNING_RATE, "", FloatDistribution(low, high, log=True)),
        Parameter(BATCH_SIZE, BATCH_SIZE, "", CategoricalDistribution(BATCH_SIZES)),
        Parameter(EPOCHS, EPOCHS, "", IntDistribution(0, NUM_LENGTHS - 1)),
    )
    return {parameter.path: parameter for parameter in found}
