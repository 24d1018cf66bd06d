from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lightning_modules.error import ConfigError, Problem
from lightning_modules.schema import Schema, positive, within


@dataclass(frozen=True, kw_only=True)
class Oven(Schema):
    degrees: float | None
    share: float | None

    def problems(self) -> Iterator[Problem]:
        yield from positive(self, "degrees")
        yield from within(self, 0, 1, "share")


def test_valid_values_pass() -> None:
    assert Oven(degrees=180, share=0.5).degrees == 180


def test_none_passes() -> None:
    assert Oven(degrees=None, share=None).share is None


def test_all_broken_rules_are_raised_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        Oven(degrees=0, share=1)
    assert [problem.where for problem in raised.value.problems] == ["degrees", "share"]
    assert str(raised.value).splitlines() == [
        "degrees: must be > 0, got 0. Set degrees to a positive number.",
        "share: must be >= 0 and < 1, got 1.",
    ]


@pytest.mark.parametrize("degrees", [0, -1, math.nan, math.inf])
def test_positive_refuses_zero_negative_nan_and_infinite_values(degrees: float) -> None:
    with pytest.raises(ConfigError, match="must be > 0"):
        Oven(degrees=degrees, share=0)


@pytest.mark.parametrize("share", [-0.01, 1, math.nan])
def test_within_refuses_values_outside_its_range(share: float) -> None:
    with pytest.raises(ConfigError, match="must be >= 0 and < 1"):
        Oven(degrees=1, share=share)


def test_within_includes_its_lower_bound() -> None:
    assert Oven(degrees=1, share=0).share == 0


def test_a_changed_copy_is_checked_too() -> None:
    with pytest.raises(ConfigError):
        dataclasses.replace(Oven(degrees=1, share=0), degrees=-1)


def test_a_schema_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Oven(degrees=1, share=0).degrees = 2  # type: ignore[misc]
