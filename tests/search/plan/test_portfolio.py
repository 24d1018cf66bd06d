"""Configurations known to be good, tried first after the default."""

from __future__ import annotations

import pytest

from search.config import compose
from search.plan.build import build_plan
from search.plan.plan import Plan

LR, SIZE = "optimizer.lr", "data.batch_size"


def plan_of(*words: str) -> Plan:
    return build_plan(compose("sweep", ["study=s", "strategy=full", *words]))


def rates(plan: Plan) -> list[float | None]:
    return [values.get(LR) for values in plan.first]


def test_the_portfolio_follows_the_default_with_its_other_values() -> None:
    plan = plan_of()
    assert rates(plan) == [2e-4, 1e-4, 3e-4]
    assert all(values == {**plan.first[0], LR: values[LR]} for values in plan.first)


def test_configurations_of_the_user_come_first() -> None:
    plan = plan_of("search.enqueue=[{optimizer.lr: 4e-4}]")
    assert rates(plan) == [2e-4, 4e-4, 1e-4, 3e-4]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("search.portfolio=false",), [2e-4]),
        (("search.num_trials=6",), [2e-4, 1e-4, 3e-4]),
        (("search.num_trials=5",), [2e-4, 1e-4]),  # at most half the budget
        (("search.num_trials=1",), [2e-4]),
        ((f"{LR}=interval(1e-5,2e-4)",), [2e-4, 1e-4]),  # within the user's range
        ((f"{LR}=1e-4",), [None]),  # not searched
        (("strategy=choice(full,lora)",), [1e-3, 2e-4]),  # arms have openings of their own
        (("strategy=bitfit",), [1e-3]),  # the table has no row
    ],
)
def test_only_what_can_be_tried_is(words: tuple[str, ...], expected: list[float | None]) -> None:
    assert rates(plan_of(*words)) == expected


def test_a_configuration_with_another_value_than_the_fixed_one_is_left_out() -> None:
    free = build_plan(compose("sweep", ["study=s"])).first
    fixed = build_plan(compose("sweep", ["study=s", "optimizer.lr=2e-3"])).first
    both = [values for values in free if values[LR] == 5e-4]
    assert len(free) == 3 and both[0][SIZE] == 8  # 5e-4 in batches of 8
    assert len(fixed) == 1


def test_a_default_outside_its_range_is_left_to_the_sampler() -> None:
    plan = plan_of(f"{SIZE}=choice(4,8)")
    assert plan.first[0][SIZE] == 16
    assert all(SIZE not in values for values in plan.first[1:])


def test_a_grid_has_its_points_only() -> None:
    words = ("search/sampler=grid", "search/space=none", f"{LR}=choice(1e-5,1e-4)")
    assert rates(plan_of(*words)) == [2e-4, 1e-5, 1e-4]
