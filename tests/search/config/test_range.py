from __future__ import annotations

import re
from typing import Any

import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from lightning_modules.error import SpaceError
from search.config import parse_range, steps_problem


@pytest.mark.parametrize(
    ("text", "current", "expected"),
    [
        ("choice(8,16,32)", 16, CategoricalDistribution((8, 16, 32))),
        ("choice(fp32,bf16)", "fp32", CategoricalDistribution(("fp32", "bf16"))),
        ("choice('a b',c)", "c", CategoricalDistribution(("a b", "c"))),
        ("choice(true,false)", True, CategoricalDistribution((True, False))),
        ("8,16", 16, CategoricalDistribution((8, 16))),
        ("choice(null,1,2)", None, CategoricalDistribution((None, 1, 2))),
        ("null,balanced", None, CategoricalDistribution((None, "balanced"))),
        ("choice('null',null)", None, CategoricalDistribution(("null", None))),
        ("range(1,5)", 2, IntDistribution(1, 4)),
        ("range(5)", 2, IntDistribution(0, 4)),
        ("range(-1,2)", 0, IntDistribution(-1, 1)),
        ("range(1,2)", 1, IntDistribution(1, 1)),
        ("range(0,9,3)", 3, IntDistribution(0, 6, step=3)),
        ("range(0,10,3)", 3, IntDistribution(0, 9, step=3)),
        ("range(0.0,0.3,0.1)", 0.1, FloatDistribution(0.0, 0.2, step=0.1)),
        ("range(0,0.4,0.1)", 0.1, FloatDistribution(0.0, 0.3, step=0.1)),
        ("tag(log,range(1,101))", 8, IntDistribution(1, 100, log=True)),
        ("interval(0,1)", 0.5, FloatDistribution(0.0, 1.0)),
        ("interval(1e-5,1e-2)", 1e-3, FloatDistribution(1e-5, 1e-2)),
        ("tag(log,interval(1e-5,1e-2))", 1e-3, FloatDistribution(1e-5, 1e-2, log=True)),
        ("tag(log, interval(1e-5, 1e-2))", 1e-3, FloatDistribution(1e-5, 1e-2, log=True)),
        ("interval(2,64)", 8, IntDistribution(2, 64)),
        ("tag(log,interval(2,64))", 8, IntDistribution(2, 64, log=True)),
        ("interval(0.5,3.5)", 2, FloatDistribution(0.5, 3.5)),
    ],
)
def test_each_form_gives_its_distribution(
    text: str, current: Any, expected: BaseDistribution
) -> None:
    assert parse_range("key", text, current) == expected


def test_integer_choices_stay_integers() -> None:
    distribution = parse_range("key", "choice(8,16)", 8)
    assert isinstance(distribution, CategoricalDistribution)
    assert [type(choice) for choice in distribution.choices] == [int, int]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("range(5,1)", r"low < high, got range\(5,1\)\. Write range\(1,5\)\."),
        ("interval(1,0)", r"low < high, got interval\(1,0\)\. Write interval\(0,1\)\."),
        ("interval(1,1)", "low < high"),
        ("range(1,5,0)", "the step must be > 0"),
        ("range(1,5,-1)", "the step must be > 0"),
        ("tag(log,range(1,9,2))", "a log range has no step"),
        ("tag(log,interval(0,1))", "a log range must start > 0, .*A log scale has no zero"),
        ("tag(log,interval(-1,1))", "a log range must start > 0"),
        ("tag(log,range(0,5))", "a log range must start > 0"),
        ("tag(lin,interval(0,1))", "the only known tag is log"),
        ("tag(log,lin,interval(1,2))", "the only known tag is log"),
        ("tag(lin,range(1,3))", "the only known tag is log"),
        ("choice(1,1)", "choices must differ"),
        ("choice(a,'a')", "choices must differ"),
        ("choice([1],2)", "choices must be text, numbers, true, false or null"),
        ("choice({a:1},2)", "choices must be text, numbers, true, false or null"),
        ("choice(null,null)", "choices must differ"),
        ("5", r"must be a range, got 5\. Use choice\(a,b\)"),
        ("abc", "must be a range"),
        ("", "must be a range"),
        ("interval(1", "must be a range"),
        ("among(1,2)", "must be a range"),
        ("glob(*)", "must be a range"),
    ],
)
def test_a_mistake_names_the_broken_rule(text: str, rule: str) -> None:
    with pytest.raises(SpaceError, match=f"^optimizer.lr: .*{rule}"):
        parse_range("optimizer.lr", text, 1e-3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tag(log,range(0.5,10))", "log range with .*Write tag\\(log,interval\\(0.5,10\\)\\), or"),
        ("tag(log,range(1e-5,1e-2,1e-5))", "a log range with steps has no points between"),
        ("range(0.1,0.5)", "steps of 1 must have more than one value, .*interval\\(0.1,0.5\\)"),
        ("range(0.1,0.3,0.2)", "a range in steps of 0.2 must have more than one value"),
    ],
)
def test_steps_that_leave_one_value_are_a_problem(text: str, problem: str) -> None:
    assert re.search(problem, str(steps_problem("optimizer.lr", text)))


@pytest.mark.parametrize("text", ["range(1,2)", "tag(log,range(1,9))", "range(0.1,0.4,0.2)"])
def test_other_steps_are_none(text: str) -> None:
    assert steps_problem("optimizer.lr", text) is None


@pytest.mark.parametrize(
    "text", ["interval(0,inf)", "interval(-inf,1)", "range(0.1,inf)", "interval(nan,1)"]
)
def test_ends_must_be_finite(text: str) -> None:
    with pytest.raises(SpaceError, match="both ends must be finite"):
        parse_range("optimizer.lr", text, 1e-3)


@pytest.mark.parametrize("text", ["tag(lin,choice(1,2))", "tag(log,choice(1,2))"])
def test_a_choice_cannot_have_a_tag(text: str) -> None:
    with pytest.raises(SpaceError):
        parse_range("optimizer.lr", text, 1e-3)


def test_equal_numbers_are_the_same_choice() -> None:
    with pytest.raises(SpaceError, match="choices must differ"):
        parse_range("optimizer.lr", "choice(1,1.0)", 1e-3)
