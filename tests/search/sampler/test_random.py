from __future__ import annotations

import optuna
from optuna.distributions import FloatDistribution

from search.sampler.base import seeded_sampler
from search.sampler.random import Random
from search.space.space import Space

NOWHERE = Space({}, {(): {}})  # this sampler ignores it


def drawn(results: bool) -> list[float]:
    study = optuna.create_study(sampler=seeded_sampler(Random(), NOWHERE, 0))
    values = []
    for number in range(20):
        trial = study.ask({"x": FloatDistribution(0, 1)})
        values.append(trial.params["x"])
        if results:
            study.tell(trial, float(number))
    return values


def test_draws_do_not_depend_on_results() -> None:
    assert drawn(results=True) == drawn(results=False)


def test_draws_cover_the_range() -> None:
    values = drawn(results=False)
    assert min(values) < 0.25
    assert max(values) > 0.75
