from __future__ import annotations

import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from lightning_modules.error import SpaceError
from search.space.space import Parameter, Space


def parameter(
    path: str, distribution: BaseDistribution, text: str = "", name: str | None = None
) -> Parameter:
    return Parameter(name or path, path, text, distribution)


RANGES = {
    "optimizer.lr": FloatDistribution(1e-5, 1e-2, log=True),
    "data.batch_size": CategoricalDistribution([8, 16]),
    "trainer.epochs": IntDistribution(1, 3),
    "trainer.precision": CategoricalDistribution(["fp32", "bf16"]),
}
MIXED = Space(
    {}, {(): {path: parameter(path, distribution) for path, distribution in RANGES.items()}}
)
LR = "optimizer.lr"
ARMS = Space(
    {"strategy": ("lora", "full")},
    {
        ("lora",): {
            LR: parameter(LR, FloatDistribution(1e-4, 1e-2), "interval(1e-4,1e-2)", f"{LR}[lora]"),
            "strategy.rank": parameter("strategy.rank", CategoricalDistribution([4, 8])),
        },
        ("full",): {
            LR: parameter(LR, FloatDistribution(2e-5, 5e-4), "interval(2e-5,5e-4)", f"{LR}[full]")
        },
    },
)


@pytest.mark.parametrize(
    ("path", "value", "inside"),
    [
        ("optimizer.lr", 1e-5, True),
        ("optimizer.lr", 1e-2, True),
        ("optimizer.lr", 0.1, False),
        ("optimizer.lr", "fast", False),
        ("optimizer.lr", None, False),
        ("data.batch_size", 16, True),
        ("data.batch_size", 12, False),
        ("data.batch_size", [8], False),
        ("trainer.epochs", 3, True),
        ("trainer.epochs", 4, False),
        ("trainer.epochs", None, False),
        ("trainer.precision", "bf16", True),
        ("trainer.precision", "auto", False),
    ],
)
def test_a_range_allows_exactly_its_values(path: str, value: object, inside: bool) -> None:
    assert MIXED.parameters[path].allows(value) is inside


def test_a_space_holds_values_that_every_range_allows() -> None:
    values = {
        "optimizer.lr": 1e-3,
        "data.batch_size": 8,
        "trainer.epochs": 2,
        "trainer.precision": "fp32",
    }
    assert MIXED.holds(values)
    assert not MIXED.holds({**values, "trainer.epochs": 9})


def test_suggested_values_lie_in_the_space_and_keep_their_type() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        values = MIXED.suggest(study.ask())
        assert MIXED.holds(values)
        assert [type(value) for value in values.values()] == [float, int, int, str]


def test_a_value_of_several_arms_needs_the_arm() -> None:
    assert ARMS.by_name({"strategy": "full", LR: 1e-4}) == {"strategy": "full", f"{LR}[full]": 1e-4}
    with pytest.raises(SpaceError, match=r"must belong to one arm.*Name the arm too"):
        ARMS.by_name({LR: 2e-4})
    with pytest.raises(SpaceError, match=r"must be in interval\(2e-5,5e-4\)"):
        ARMS.by_name({"strategy": "full", LR: 1e-2})


def test_parameters_by_name_and_by_path_agree() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        values = ARMS.suggest(trial)
        assert ("strategy.rank" in values) == (values["strategy"] == "lora")
        assert ARMS.by_path(trial.params) == values
        assert ARMS.by_name(values) == trial.params


def test_every_path_is_listed_once_and_groups_come_first() -> None:
    assert ARMS.paths == ("strategy", LR, "strategy.rank")
    assert ARMS.is_conditional and not MIXED.is_conditional
    assert set(ARMS.parameters) == {"strategy", f"{LR}[lora]", f"{LR}[full]", "strategy.rank"}


def test_combinations_are_counted_only_in_a_finite_space() -> None:
    assert MIXED.num_combinations is None
    finite = {
        path: parameter(path, distribution) for path, distribution in RANGES.items() if path != LR
    }
    space = Space({}, {(): finite})
    assert space.num_combinations == 2 * 3 * 2
    assert len({str(values) for values in space.combinations()}) == 2 * 3 * 2
    assert all(map(space.holds, space.combinations()))


def test_a_long_range_is_counted_without_listing_it() -> None:
    long = parameter("x", IntDistribution(1, 2**40))
    assert Space({}, {(): {"x": long}}).num_combinations == 2**40
    assert long.values is not None and long.values[-1] == 2**40


def test_a_path_that_is_not_searched_is_reported_with_the_nearest() -> None:
    with pytest.raises(SpaceError, match=r"optimizer\.lrr: must be a searched path.*Did you mean"):
        ARMS.by_name({"optimizer.lrr": 1e-3})
