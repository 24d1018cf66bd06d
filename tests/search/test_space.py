from __future__ import annotations

from functools import cache

import optuna
import pytest
from optuna.distributions import FloatDistribution

from lightning_modules.error import SpaceError
from search.config import Tree, compose
from search.space import Space, build_space, default_values, leaves


def tree_of(*overrides: str) -> Tree:
    words = ["model=tiny", "logger=none", "search/space=none", *overrides]
    return compose("sweep", words).tree


@cache
def space_of(*overrides: str) -> Space:
    return build_space(tree_of(*overrides))


MIXED = (
    "optimizer.lr=tag(log,interval(1e-5,1e-2))",
    "data.batch_size=choice(8,16)",
    "trainer.epochs=range(1,4)",
    "trainer.precision=choice(fp32,bf16)",
)


def test_corner_that_the_configuration_refuses_is_named() -> None:
    with pytest.raises(SpaceError, match=r"data\.batch_size: must be > 0, got 0 in choice\(0,8\)"):
        space_of("data.batch_size=choice(0,8)")


def test_corner_of_the_wrong_type_is_named() -> None:
    with pytest.raises(SpaceError, match=r"must be a whole number, got 1\.5 in choice\(1,1\.5\)"):
        space_of("trainer.epochs=choice(1,1.5)")


def test_fractions_of_a_whole_number_are_refused() -> None:
    with pytest.raises(SpaceError, match=r"trainer\.epochs: must be a whole number"):
        space_of("trainer.epochs=interval(0.5,3.5)")


def test_refused_corners_come_at_once() -> None:
    with pytest.raises(SpaceError) as error:
        space_of("data.batch_size=choice(0,8)", "strategy.dropout=interval(0,1)")
    assert [problem.where for problem in error.value.problems] == [
        "data.batch_size",
        "strategy.dropout",
    ]


def test_path_must_be_in_the_configuration() -> None:
    tree = tree_of()
    tree["search"]["space"] = {"optimizer.lrr": "interval(1e-5,1e-3)"}
    with pytest.raises(SpaceError, match=r"^optimizer\.lrr: .*Did you mean optimizer\.lr\?$"):
        build_space(tree)


def test_impossible_range_of_a_file_is_refused() -> None:
    tree = tree_of()
    tree["search"]["space"] = {"optimizer.lr": "interval(1,0)", "trainer.epochs": "3"}
    with pytest.raises(SpaceError) as error:
        build_space(tree)
    assert [problem.where for problem in error.value.problems] == ["optimizer.lr", "trainer.epochs"]


def test_interval_over_a_float_key_is_of_real_numbers() -> None:
    space = space_of("strategy.alpha=interval(1,64)")
    assert space.distributions["strategy.alpha"] == FloatDistribution(1.0, 64.0)


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
def test_range_allows_what_lies_in_it(path: str, value: object, inside: bool) -> None:
    assert space_of(*MIXED).allows(path, value) is inside


def test_space_contains_what_every_range_allows() -> None:
    values = {
        "optimizer.lr": 1e-3,
        "data.batch_size": 8,
        "trainer.epochs": 2,
        "trainer.precision": "fp32",
    }
    space = space_of(*MIXED)
    assert space.contains(values)
    assert not space.contains({**values, "trainer.epochs": 9})


def test_suggested_values_lie_in_the_space_and_keep_their_type() -> None:
    space = space_of(*MIXED)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        values = space.suggest(study.ask())
        assert space.contains(values)
        assert [type(value) for value in values.values()] == [float, int, int, str]


def test_default_values_are_the_configurations_own() -> None:
    tree = tree_of(*MIXED, "strategy.lr=5e-4")
    assert default_values(tree, build_space(tree)) == {
        "optimizer.lr": 5e-4,
        "data.batch_size": 16,
        "trainer.epochs": 2,
        "trainer.precision": "auto",
    }


def test_leaves_of_empty_groups_are_none() -> None:
    assert leaves({"a": {}, "b": {"c": {"d": None}}}) == {"b.c.d": None}
