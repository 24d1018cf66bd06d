from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from search.config import compose
from search.plan.build import build_plan
from search.sampler.gaussian.encoding import Encoding
from search.space.space import Parameter, Space


def space_of(**ranges: BaseDistribution) -> Space:
    return Space({}, {(): {path: Parameter(path, path, "", r) for path, r in ranges.items()}})


def arms() -> Space:
    words = ["model=tiny", "strategy=choice(lora,full)", "strategy.rank=choice(4,8,16)"]
    return build_plan(compose("sweep", words)).space


@pytest.mark.parametrize(
    ("choices", "positions"),
    [
        ((8, 16, 32), [0.0, 0.5, 1.0]),  # even on a log scale
        ((1, 2, 3), [0.0, 0.5, 1.0]),
        ((0, 0.1, 0.4), [0.0, 0.25, 1.0]),
        ((32, 8), [1.0, 0.0]),
        (("a", "b", "c"), [0.0, 1.0, 2.0]),
        ((None, 0.1), [0.0, 1.0]),
        ((False, True), [0.0, 1.0]),
    ],
)
def test_numbers_are_ordered_and_other_choices_are_not(
    choices: tuple[Any, ...], positions: list[float]
) -> None:
    encoding = Encoding(space_of(x=CategoricalDistribution(choices)))
    rows = [encoding.row({"x": choice})[0] for choice in choices]
    assert rows == pytest.approx(positions)
    is_number = all(isinstance(c, int | float) and not isinstance(c, bool) for c in choices)
    assert encoding.axes[0].is_category is not is_number


def test_a_range_with_a_log_scale_is_encoded_on_it() -> None:
    encoding = Encoding(space_of(x=FloatDistribution(1e-4, 1e-2, log=True)))
    assert encoding.row({"x": 1e-3}) == pytest.approx([0.5])
    assert encoding.params([0.5])["x"] == pytest.approx(1e-3)
    ends = Encoding(space_of(x=FloatDistribution(1e-6, 0.3, log=True)))
    assert [ends.params([number])["x"] for number in (0.0, 1.0)] == [1e-6, 0.3]


@pytest.mark.parametrize("seed", range(3))
def test_every_row_that_is_drawn_is_read_back_the_same(seed: int) -> None:
    ranges: dict[str, BaseDistribution] = {
        "a": FloatDistribution(1e-5, 1e-2, log=True),
        "b": FloatDistribution(0, 0.3, step=0.1),
        "c": IntDistribution(1, 100, log=True),
        "d": IntDistribution(2, 8, step=3),
        "e": CategoricalDistribution((8, 16, 32)),
        "f": CategoricalDistribution(("x", None, 1)),
    }
    for space in (space_of(**ranges), arms()):
        encoding = Encoding(space)
        fractions = np.random.default_rng(seed).random((50, len(encoding.axes)))
        for row in encoding.snapped(encoding.drawn(fractions)):
            params = encoding.params(row)
            assert encoding.places(params)
            assert space.holds(space.by_path(params))
            assert np.allclose(encoding.row(params), row, equal_nan=True)


@pytest.mark.parametrize(
    "steps",
    [
        FloatDistribution(0.1, 500.2, step=0.1),
        FloatDistribution(0, 1, step=0.0005),
        IntDistribution(3, 9003, step=4),
        IntDistribution(1, 5000, log=True),
    ],
)
def test_many_steps_are_read_back_as_steps(steps: BaseDistribution) -> None:
    encoding = Encoding(space_of(x=steps))
    values = {encoding.params([number])["x"] for number in np.linspace(0, 1, 301)}
    assert values <= set(encoding.axes[0].values or ())
    assert all(encoding.places({"x": value}) for value in values)
    assert len(values) > 200 or getattr(steps, "log", False)


def test_a_row_lacks_what_its_arm_lacks() -> None:
    encoding = Encoding(arms())
    names = [axis.name for axis in encoding.axes]
    row = encoding.row({"strategy": "full", "optimizer.lr[full]": 1e-4})
    assert math.isnan(row[names.index("strategy.rank")])
    other = encoding.snapped(np.full((1, len(names)), 0.4))[0]
    assert {"strategy", "strategy.rank"} <= encoding.params(other).keys()
    shared = {axis.name for axis in encoding.axes if axis.is_shared}
    assert shared == {"strategy", "data.batch_size", "trainer.epochs"}


def test_rows_of_the_arms_that_are_given() -> None:
    encoding = Encoding(arms())
    fractions = np.random.default_rng(0).random((50, len(encoding.axes)))
    rows = encoding.snapped(encoding.drawn(fractions))
    full = np.array(encoding.row({"strategy": "full", "data.batch_size": 16}))
    assert len(encoding.in_arm(rows, np.full(len(encoding.axes), np.nan))) == 50
    found = [encoding.params(row)["strategy"] for row in encoding.in_arm(rows, full)]
    assert 10 < len(found) < 40 and set(found) == {"full"}


def test_a_number_outside_its_range_has_a_place_beyond() -> None:
    space = space_of(x=FloatDistribution(1e-4, 1e-2, log=True), n=CategoricalDistribution((8, 16)))
    encoding = Encoding(space)
    assert encoding.places({"x": 1e-1, "n": 8})
    assert encoding.row({"x": 1e-1, "n": 8}) == pytest.approx([1.5, 0.0])
    rows = encoding.rows([{"x": x, "n": 8} for x in (1e-5, 1e-4, 3e-4, 1e-2, 1e-1)])
    assert encoding.inside(rows).tolist() == rows[1:4].tolist()
    assert not encoding.places({"x": 1e-3, "n": 32})
    assert not encoding.places({"x": 1e-3})
    assert not encoding.places({})


def test_a_range_of_one_value_has_no_other_place() -> None:
    encoding = Encoding(space_of(x=FloatDistribution(0.1, 0.1)))
    assert encoding.places({"x": 0.1}) and not encoding.places({"x": 0.2})


def test_choices_without_order_are_never_outside() -> None:
    encoding = Encoding(space_of(x=CategoricalDistribution(("a", "b", "c", "d"))))
    rows = encoding.rows([{"x": x} for x in "abcd"])
    assert len(encoding.inside(rows)) == 4
