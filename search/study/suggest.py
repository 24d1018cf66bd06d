"""Choose a trial's values: the sampler's suggestion, or others if that was already tried.

A repeated trial costs as much and adds nothing. If the sampler suggests values that another trial
has, further candidates are drawn at random; in a finite space, from the remaining combinations.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from itertools import chain
from typing import TYPE_CHECKING, Any

from lightning_modules.seed import seed_of
from search.plan.plan import Plan
from search.sampler.base import seeded_sampler
from search.space.key import canonical_key
from search.space.space import Space
from search.storage.attribute import FIXED, KEY, START, VALUES
from search.storage.transaction import reserve
from search.study.arm import decide_arm, depends_on_results
from search.study.knowledge import Prior, view_of
from search.study.seeds import SEED, first_seed

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from search.storage.tables import StudyStorage

NUM_SHOWN = 10
NUM_DRAWS = 20  # in an infinite space, where a repetition comes from the sampler, not from chance
MAX_LISTED = 100_000


def settle(
    study: optuna.Study,
    tables: StudyStorage,
    trial: FrozenTrial,
    plan: Plan,
    taken: Set[str],
    wanted: Iterable[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Return a claimed trial's values and reserve them, so that no other trial gets the same.

    Args:
        study: The study, with its sampler.
        tables: Its storage.
        trial: The trial; values from an earlier attempt are kept.
        plan: The study's plan.
        taken: The keys of trials that have values; other workers may reserve more meanwhile.
        wanted: Values by config path to take before the sampler is asked.

    """
    space = plan.space
    if KEY in trial.system_attrs:
        return space.by_path(trial.system_attrs[FIXED])

    def is_reserved(values: Mapping[str, Any], *, even_if_taken: bool = False) -> bool:
        params = {
            name: (value, space.parameters[name].distribution)
            for name, value in space.by_name(values).items()
        }
        key = canonical_key(values)
        return reserve(
            tables, study._study_id, trial._trial_id, key, params, even_if_taken=even_if_taken
        )

    for values in wanted:
        if is_reserved(values):
            return values
    decide_arm(study, trial.number, plan)
    drafts = candidates(study, trial._trial_id, plan, taken.__contains__)
    suggested = next(drafts)
    fixed = study._storage.get_trial(trial._trial_id).system_attrs.get(FIXED, {})
    if SEED in suggested and SEED not in space.by_path(fixed):
        suggested[SEED] = first_seed(space, suggested)
    for values in chain([suggested], drafts):
        if canonical_key(values) not in taken and is_reserved(values):
            return values
    # Everything is taken, e.g. a queued configuration was tried before.
    is_reserved(suggested, even_if_taken=True)
    return suggested


def waiting_trial(space: Space, values: Mapping[str, Any]) -> FrozenTrial:
    """Return a trial for the queue with these values; the rest will be sampled."""
    from optuna.trial import TrialState, create_trial

    attributes: dict[str, Any] = {START: canonical_key(values)}
    if not space.holds(values):
        # Optuna refuses parameters outside their range, and a default may be outside.
        user = {VALUES: dict(values)}
        return create_trial(state=TrialState.WAITING, user_attrs=user, system_attrs=attributes)
    if values:
        attributes[FIXED] = space.by_name(values)
    return create_trial(state=TrialState.WAITING, system_attrs=attributes)


def candidates(
    study: optuna.Study, trial_id: int, plan: Plan, is_taken: Callable[[str], bool]
) -> Iterator[dict[str, Any]]:
    """Yield candidate values for the trial by config path, the sampler's suggestion first.

    Values are not written to the storage; a sampler may write attributes of its own. `is_taken`
    returns whether another trial has a key; a candidate may still be taken by a trial that another
    worker starts meanwhile.
    """
    import optuna

    trial = optuna.trial.Trial(_Draft(study), trial_id)  # type: ignore[arg-type]
    yield plan.space.suggest(trial)
    chance = random.Random(seed_of(plan.sampler_seed, "candidates", trial.number))
    params = study._storage.get_trial(trial_id).system_attrs.get(FIXED, {})
    fixed = plan.space.by_path(params)
    if plan.space.num_combinations is not None and plan.space.num_combinations <= MAX_LISTED:
        left = [
            values
            for values in plan.space.combinations()
            if fixed.items() <= values.items() and not is_taken(canonical_key(values))
        ]
        chance.shuffle(left)
        yield from left
        return
    for _ in range(NUM_DRAWS):
        yield plan.space.suggest(_RandomTrial(chance, params))  # type: ignore[arg-type]


def filled(plan: Plan, number: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by name of a free study, possibly outside its ranges, the others at random."""
    chance = random.Random(seed_of(plan.sampler_seed, "candidates", number))
    return plan.space.suggest(_RandomTrial(chance, values))  # type: ignore[arg-type]


def num_independent(plan: Plan, prior: Prior | None) -> float:
    """Return for how many trials, the first ones, the sampler's values depend on no result.

    What a study takes over from another one are results.
    """
    num_prior = len(prior["trials"]) if prior else 0
    return plan.search.sampler.num_independent - num_prior


def first_values(plan: Plan, prior: Prior | None) -> list[Mapping[str, Any]]:
    """Return the values by config path to try first: after the defaults the best one taken over."""
    num_defaults = len(plan.defaults)
    best = [prior["best"]] if prior is not None and prior["best"] is not None else []
    first = [*plan.first[:num_defaults], *best, *plan.first[num_defaults:]]
    return list({canonical_key(values): values for values in first}.values())


def first_suggestions(plan: Plan, prior: Prior | None = None) -> list[dict[str, Any]]:
    """Return the values of the trials that do not depend on results, as the study will run them.

    A queued configuration has only the values that it was queued with, and its arm and opening, if
    the sampler will choose the others from results.

    Args:
        plan: The plan.
        prior: What the study takes over from another one.

    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    directions, first = [o.direction for o in plan.objectives], first_values(plan, prior)
    study = optuna.create_study(directions=directions)  # in memory
    view = view_of(study, plan.space, prior)
    study.sampler = seeded_sampler(
        plan.search.sampler, plan.space, plan.sampler_seed, view, plan.defaults_of_arms
    )
    startup = num_independent(plan, prior)
    startup = NUM_SHOWN if startup == math.inf else startup
    suggestions: list[dict[str, Any]] = []
    taken: set[str] = set()
    for number in range(plan.num_trials):
        values, is_queued = first[number] if number < len(first) else {}, number < len(first)
        waits = plan.takes_turns and depends_on_results(plan, study.trials)
        if waits and not is_queued:
            break
        study.add_trial(waiting_trial(plan.space, values))
        trial = study.ask()
        if not waits:
            decide_arm(study, number, plan)
        fixed = study._storage.get_trial(trial._trial_id).system_attrs.get(FIXED, {})
        suggestion = trial.user_attrs.get(VALUES)
        if (
            suggestion is None
            and not plan.space.is_complete(fixed)
            and (waits or number >= startup)
        ):
            if not is_queued:
                break
            suggestion = plan.space.by_path(fixed)
        elif suggestion is None:
            suggestion = _settled(study, trial._trial_id, plan, taken)
        suggestions.append(suggestion)
    return suggestions


def _settled(study: optuna.Study, trial_id: int, plan: Plan, taken: set[str]) -> dict[str, Any]:
    """Return the values that `settle` would reserve, and store them in a study in memory."""
    drafts = candidates(study, trial_id, plan, taken.__contains__)
    suggested = next(drafts)
    free = (values for values in chain([suggested], drafts) if canonical_key(values) not in taken)
    values = next(free, suggested)
    taken.add(canonical_key(values))
    for name, value in plan.space.by_name(values).items():
        distribution = plan.space.parameters[name].distribution
        internal = distribution.to_internal_repr(value)
        study._storage.set_trial_param(trial_id, name, internal, distribution)
    return values


class _Draft:
    """A study whose suggested parameters are not stored; it acts as its own storage."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._storage = _Unwritten(study._storage)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)


class _Unwritten:
    def __init__(self, storage: Any) -> None:
        self._behind = storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._behind, name)

    def set_trial_param(self, *arguments: Any) -> None:
        pass


class _RandomTrial:
    """Suggests at random, except for the values that the trial starts with."""

    def __init__(self, chance: random.Random, fixed: Mapping[str, Any]) -> None:
        self._chance = chance
        self._fixed = fixed

    def suggest_float(self, name: str, low: float, high: float, **how: Any) -> Any:
        from optuna.distributions import FloatDistribution

        return self._drawn(name, FloatDistribution(low, high, **how))

    def suggest_int(self, name: str, low: int, high: int, **how: Any) -> Any:
        from optuna.distributions import IntDistribution

        return self._drawn(name, IntDistribution(low, high, **how))

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        from optuna.distributions import CategoricalDistribution

        return self._drawn(name, CategoricalDistribution(choices))

    def _drawn(self, name: str, distribution: Any) -> Any:
        from optuna.samplers import RandomSampler

        if name in self._fixed:
            return self._fixed[name]
        sampler = RandomSampler(seed=self._chance.randrange(2**32))
        return sampler.sample_independent(None, None, name, distribution)  # type: ignore[arg-type]
