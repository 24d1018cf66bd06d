from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from lightning_modules.error import ConfigError
from lightning_modules.outcome import Ending
from search.sampler.base import seeded_sampler
from search.sampler.bayes import Bayes, scalarized, standardized
from search.sampler.gaussian.posterior import fitted
from search.space.space import Space
from search.storage.attribute import FIXED, constraint
from tests.search.sampler.gaussian.test_encoding import arms, space_of

SPACE = space_of(
    lr=FloatDistribution(1e-5, 1e-2, log=True),
    batch=CategoricalDistribution((8, 16, 32)),
    epochs=IntDistribution(1, 3),
)
DEFAULT = {"lr": 1e-4, "batch": 16, "epochs": 2}
BAYES = Bayes(max_modelled=200, prior_strength=0.5)
STRONG = Bayes(max_modelled=200, prior_strength=1e4)


def loss(values: dict[str, float]) -> float:
    shift = math.log10(values["lr"]) + 3.3 - 0.5 * math.log10(values["batch"] / 16)
    return shift**2 + 0.1 * (3 - values["epochs"])


def study_of(space: Space = SPACE, seed: int = 0, directions: int = 1) -> optuna.Study:
    sampler = seeded_sampler(BAYES, space, seed, defaults=[DEFAULT] if space is SPACE else [])
    study = optuna.create_study(sampler=sampler, directions=["minimize"] * directions)
    if space is SPACE:
        study.enqueue_trial(DEFAULT)
    return study


def run(study: optuna.Study, num_trials: int) -> list[dict[str, float]]:
    tried = []
    for _ in range(num_trials):
        trial = study.ask()
        tried.append(SPACE.suggest(trial))
        study.tell(trial, loss(tried[-1]))
    return tried


@pytest.mark.parametrize("seed", range(3))
def test_twelve_trials_find_the_optimum(seed: int) -> None:
    assert min(map(loss, run(study_of(seed=seed), 12))) < 0.05


def test_no_configuration_is_suggested_twice_in_a_finite_space() -> None:
    space = space_of(a=CategoricalDistribution(("x", "y", "z")), b=IntDistribution(1, 3))
    study = study_of(space)
    tried = []
    for _ in range(9):
        trial = study.ask()
        tried.append(tuple(space.suggest(trial).values()))
        study.tell(trial, 0.0)
    assert len(set(tried)) == 9


def test_what_is_left_to_chance_is_drawn_parameter_by_parameter() -> None:
    space = space_of(a=FloatDistribution(0, 1), b=FloatDistribution(0, 1))
    study = study_of(space)
    trial = study.ask()
    sampler = BAYES.build(space, seed=0, number=0)
    frozen, distribution = study.trials[0], space.parameters["a"].distribution
    drawn = [sampler.sample_independent(study, frozen, name, distribution) for name in "ab"]
    assert trial.number == 0 and drawn[0] != drawn[1]


def test_the_preference_is_for_defaults_that_the_space_holds_not_for_first_trials() -> None:
    def second(*defaults: dict[str, float], first: dict[str, float]) -> dict[str, float]:
        study = optuna.create_study(sampler=seeded_sampler(STRONG, SPACE, 0, defaults=defaults))
        study.enqueue_trial(first)
        run(study, 1)
        return SPACE.suggest(study.ask())

    other = {"lr": 3e-3, "batch": 32, "epochs": 3}
    near = second(DEFAULT, first=other)
    assert abs(math.log10(near["lr"] / DEFAULT["lr"])) < 0.1
    outside = {**DEFAULT, "lr": 1.0}
    assert second(outside, first=other) == second(first=other) != near


def test_trials_taken_over_are_no_default() -> None:
    def with_one_taken_over(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        other = optuna.trial.create_trial(
            params={"lr": 3e-3, "batch": 32, "epochs": 3}, distributions=distributions(), value=1.0
        )
        other.number = -1
        return [other, *trials]

    sampler = seeded_sampler(STRONG, SPACE, 0, with_one_taken_over, [DEFAULT])
    study = optuna.create_study(sampler=sampler)
    rate = SPACE.suggest(study.ask())["lr"]
    assert abs(math.log10(rate / DEFAULT["lr"])) < 0.1


def test_what_another_study_tried_may_be_tried_here() -> None:
    space = space_of(a=IntDistribution(1, 3), b=IntDistribution(1, 3))
    ranges = {name: parameter.distribution for name, parameter in space.parameters.items()}

    def with_all_taken_over(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        others = [
            optuna.trial.create_trial(
                params=values, distributions=ranges, value=float(values["a"] + values["b"])
            )
            for values in space.combinations()
        ]
        for number, other in enumerate(others, start=1):
            other.number = -number
        return [*others, *trials]

    for seed in range(5):
        study = optuna.create_study(sampler=seeded_sampler(BAYES, space, seed, with_all_taken_over))
        assert sum(space.suggest(study.ask()).values()) <= 3  # the best two of nine


def test_a_given_arm_is_searched_around_its_own_best() -> None:
    space = arms()
    path, chance = "optimizer.lr", np.random.default_rng(0)
    study = optuna.create_study(sampler=seeded_sampler(BAYES, space, 0))
    for number in range(24):
        strategy = ("lora", "full")[number % 2]
        range_ = space.arms[(strategy,)][path].distribution
        middle = math.log(range_.low * range_.high) / 2  # type: ignore[attr-defined]
        best = math.exp(middle + (0.7 if strategy == "full" else -0.7))
        params = space.by_name({"strategy": strategy})
        study.add_trial(
            optuna.trial.create_trial(state=TrialState.WAITING, system_attrs={FIXED: params})
        )
        trial = study.ask()
        values = space.suggest(trial)
        assert values["strategy"] == strategy
        loss = math.log(values[path] / best) ** 2 + (0.0 if strategy == "lora" else 5.0)
        study.tell(trial, loss + 0.01 * chance.standard_normal())
        if number >= 18:
            assert loss % 5.0 < 0.25


def test_what_was_tried_before_a_range_was_narrowed_is_learnt_from() -> None:
    narrow = space_of(x=FloatDistribution(0.0, 0.5), y=FloatDistribution(0.0, 1.0))
    ranges = {name: parameter.distribution for name, parameter in narrow.parameters.items()}

    def seen(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        for trial in trials:  # as search.study.knowledge shows them
            trial.distributions = {name: ranges[name] for name in trial.params}
        return list(trials)

    study = optuna.create_study(sampler=seeded_sampler(BAYES, narrow, 0, seen))
    wide = dict.fromkeys("xy", FloatDistribution(0.0, 1.0))
    for x in (0.55, 0.7, 0.85, 1.0):
        for y in (0.1, 0.5, 0.9):
            params = {"x": x, "y": y}
            value = (x - 0.4) ** 2 + (y - 0.2) ** 2
            study.add_trial(
                optuna.trial.create_trial(value=value, params=params, distributions=wide)
            )
    values = narrow.suggest(study.ask())
    assert 0.25 < values["x"] <= 0.5 and values["y"] < 0.45


def test_workers_try_different_places_before_any_result() -> None:
    study = study_of()
    tried = [SPACE.suggest(study.ask()) for _ in range(8)]
    rates = sorted(math.log10(values["lr"]) for values in tried)
    assert len({tuple(values.values()) for values in tried}) == 8
    assert rates[-1] - rates[0] > 1.0  # of 3 decades


def test_the_second_trial_does_not_depend_on_the_first_result() -> None:
    after, meanwhile = study_of(), study_of()
    run(after, 1)
    SPACE.suggest(meanwhile.ask())
    assert SPACE.suggest(after.ask()) == SPACE.suggest(meanwhile.ask())


def test_trials_stay_away_from_where_they_diverge() -> None:
    study = study_of()
    rates = []
    for _ in range(24):
        trial = study.ask()
        values = SPACE.suggest(trial)
        rates.append(values["lr"])
        if values["lr"] > 1e-3:
            name = constraint(Ending.diverged)
            study._storage.set_trial_system_attr(trial._trial_id, name, 1.0)
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, loss(values))
    assert sum(rate > 1e-3 for rate in rates[12:]) <= 4  # random draws: 4 of 12, and no result


def test_given_values_stay() -> None:
    study = study_of()
    run(study, 3)
    trial = optuna.trial.create_trial(state=TrialState.WAITING, system_attrs={FIXED: {"batch": 8}})
    study.add_trial(trial)
    assert SPACE.suggest(study.ask())["batch"] == 8


def test_several_objectives_spread_over_the_front() -> None:
    space = space_of(x=FloatDistribution(0, 1), y=FloatDistribution(0, 1))
    study = study_of(space, directions=2)
    for _ in range(24):
        trial = study.ask()
        values = space.suggest(trial)
        penalty = (values["y"] - 0.3) ** 2
        study.tell(trial, [values["x"] ** 2 + penalty, (1 - values["x"]) ** 2 + penalty])
    front = [trial.params["x"] for trial in study.best_trials]
    assert len(front) >= 6
    assert min(front) < 0.25 and max(front) > 0.75


def test_losses_are_standardized_and_bad_ones_compressed() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0, 1e6])
    losses = standardized(values)
    assert losses.mean() == pytest.approx(0.0)
    assert losses.std() == pytest.approx(1.0)
    assert (np.diff(losses) > 0).all()
    # Below the median 3 distances stay; beyond it y becomes 3 + 2 log(1 + (y - 3) / 2).
    ratio = (losses[4] - losses[2]) / (losses[1] - losses[0])
    assert ratio == pytest.approx(2 * math.log1p((1e6 - 3) / 2))
    assert standardized(np.array([5.0])).tolist() == [0.0]


def test_a_single_objective_is_left_alone() -> None:
    values = np.array([[3.0], [1.0]])
    assert scalarized(values, np.random.default_rng(0)).tolist() == [3.0, 1.0]


def test_the_model_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counting(kernel: Any, known: Any, *arguments: Any) -> Any:
        sizes.append(len(known))
        return fitted(kernel, known, *arguments)

    monkeypatch.setattr("search.sampler.gaussian.posterior.fitted", counting)
    trials = [
        optuna.trial.create_trial(value=loss(values), params=values, distributions=distributions())
        for values in drawn(1000)
    ]
    for num in (100, 1000):
        study = study_of()
        study.add_trials(trials[:num])
        SPACE.suggest(study.ask())  # the default
        SPACE.suggest(study.ask())
    assert sizes == [100, BAYES.max_modelled]


def distributions() -> dict[str, optuna.distributions.BaseDistribution]:
    return {name: parameter.distribution for name, parameter in SPACE.parameters.items()}


def drawn(num: int) -> list[dict[str, float]]:
    chance = np.random.default_rng(0)
    return [
        {
            "lr": float(10 ** chance.uniform(-5, -2)),
            "batch": int(chance.choice([8, 16, 32])),
            "epochs": int(chance.integers(1, 4)),
        }
        for _ in range(num)
    ]


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_modelled: must be > 0, got 0"):
        Bayes(max_modelled=0, prior_strength=1.0)
    with pytest.raises(ConfigError, match="prior_strength: must be >= 0, got -1"):
        Bayes(max_modelled=10, prior_strength=-1.0)
