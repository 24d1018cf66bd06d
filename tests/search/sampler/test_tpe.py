from __future__ import annotations

import statistics

import optuna
import pytest
from optuna.distributions import FloatDistribution

from lightning_modules.error import ConfigError
from search.sampler.base import seeded_sampler
from search.sampler.tpe import Tpe
from search.space.space import Space

NOWHERE = Space({}, {(): {}})  # this sampler ignores it

NUM_STARTUP = 10


def distances(num_trials: int) -> list[float]:
    """Return the distance of each trial from the optimum, 0.2 in [0, 1]."""
    sampler = seeded_sampler(Tpe(num_startup_trials=NUM_STARTUP), NOWHERE, 0)
    study = optuna.create_study(sampler=sampler)
    errors = []
    for _ in range(num_trials):
        trial = study.ask({"x": FloatDistribution(0, 1)})
        errors.append(abs(trial.params["x"] - 0.2))
        study.tell(trial, errors[-1])
    return errors


def test_trials_after_the_startup_go_where_good_ones_were() -> None:
    errors = distances(30)
    assert statistics.mean(errors[NUM_STARTUP:]) < statistics.mean(errors[:NUM_STARTUP]) / 2


def test_startup_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="num_startup_trials: must be > 0, got 0"):
        Tpe(num_startup_trials=0)


def test_the_first_trials_are_points_of_a_sobol_sequence() -> None:
    sampler = seeded_sampler(Tpe(num_startup_trials=16), NOWHERE, 0)
    study = optuna.create_study(sampler=sampler)
    drawn = []
    for _ in range(16):
        trial = study.ask({"x": FloatDistribution(0, 1)})
        drawn.append(trial.params["x"])
        study.tell(trial, 0.0)
    assert {int(value * 16) for value in drawn} == set(range(16))
