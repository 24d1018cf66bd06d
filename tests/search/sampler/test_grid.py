from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from search.config import compose
from search.plan.build import build_plan
from search.space.space import Parameter

WORDS = (
    "model=tiny",
    "search/space=none",
    "search/sampler=grid",
    "strategy=choice(lora,full)",
    "strategy.rank=choice(4,16)",
    "trainer.epochs=range(1,3)",
)


def values_of(distribution: BaseDistribution) -> list[Any] | None:
    values = Parameter("name", "path", "text", distribution).values
    return None if values is None else list(values)


def test_every_combination_of_every_arm_is_tried_once_after_the_defaults() -> None:
    plan = build_plan(compose("sweep", [*WORDS, "search.num_trials=50"]))
    assert plan.first[0] == {"strategy": "lora", "strategy.rank": 8, "trainer.epochs": 2}
    assert plan.first[1] == {"strategy": "full", "trainer.epochs": 2}
    # 2 ranks x 2 epochs under LoRA, 2 epochs under full, one of which is its default.
    assert len(plan.first) == 2 + 4 + 1
    assert plan.num_trials == 7
    assert len({tuple(values.items()) for values in plan.first}) == 7


def test_a_budget_below_the_grid_size_is_kept() -> None:
    assert build_plan(compose("sweep", [*WORDS, "search.num_trials=3"])).num_trials == 3


def test_values_of_stepped_ranges() -> None:
    assert values_of(IntDistribution(2, 8, step=3)) == [2, 5, 8]
    assert values_of(FloatDistribution(0.0, 0.3, step=0.1)) == [0.0, 0.1, 0.2, 0.3]
    assert values_of(FloatDistribution(0.0, 1.0)) is None
