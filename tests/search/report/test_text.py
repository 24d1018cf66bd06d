from __future__ import annotations

import pytest

from search.report.snapshot import StudySummary
from search.report.text import (
    age,
    columns,
    duration,
    number,
    rough,
    score,
    settings,
    short_names,
    study_list,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.1 + 0.2, "0.3"),
        (0.00031622776, "0.0003162"),
        (1e-5, "1e-05"),
        (16, "16"),
        (100000, "100000"),
        (True, "True"),
        ("bf16", "bf16"),
    ],
)
def test_number_has_few_digits(value: object, text: str) -> None:
    assert number(value) == text


def test_settings_are_one_line() -> None:
    assert settings({"optimizer.lr": 1e-3, "trainer.precision": "fp32"}) == (
        "optimizer.lr=0.001 trainer.precision=fp32"
    )
    assert settings({}) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (7.31, "7.3 s"),
        (60, "1 min 0 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 0 min"),
        (7320, "2 h 2 min"),
        (100 * 3600, "100 h 0 min"),
    ],
)
def test_duration_shows_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_duration_never_shows_sixty_seconds() -> None:
    assert duration(59.97) == "1 min 0 s"


def test_columns_are_aligned_without_trailing_spaces() -> None:
    assert columns([["", "metric"], ["best", "0.9"]]) == ["      metric", "best  0.9"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0.0000"),
        (0.76, "0.7600"),
        (-0.31234, "-0.3123"),
        (9.99999, "10.0000"),
        (0.00012345, "0.0001234"),
        (95.31234, "95.31"),
        (590592.0, "590,592"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
    ],
)
def test_scores_of_metrics_have_four_decimals(value: float | None, text: str) -> None:
    assert score(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.31, "0.31 s"),
        (7.31, "7.3 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (75, "1.2 min"),
        (3599, "60 min"),
        (3600, "1 h"),
        (400_000, "111 h"),
    ],
)
def test_rough_has_one_unit_and_fits_seven_characters(seconds: float, text: str) -> None:
    assert rough(seconds) == text
    assert len(rough(seconds)) <= 7


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "just now"), (59, "just now"), (119, "1 min ago"), (7300, "2 h ago"), (9e5, "10 d ago")],
)
def test_age_counts_whole_units(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_short_names_have_as_many_parts_as_make_them_unique() -> None:
    paths = ["strategy", "optimizer.lr", "a.x.rank", "b.x.rank", "rank"]
    assert short_names(paths) == ["strategy", "lr", "a.x.rank", "b.x.rank", "rank"]
    assert short_names(["a.x.lr", "a.y.lr"]) == ["x.lr", "y.lr"]
    assert short_names([]) == []


def test_study_list_has_one_line_per_study() -> None:
    first = StudySummary("first", "done", 12, 12, 0.765, ("validation/accuracy",), 7300.0)
    second = StudySummary("b", "running", 30, 0, None, ("validation/mcc", "seconds"), 3.0)
    assert study_list([first, second]) == [
        "study  trials  state    best    objective                changed",
        "first  12/12   done     0.7650  validation/accuracy      2 h ago",
        "b      0/30    running  -       validation/mcc, seconds  just now",
    ]


def test_an_empty_study_list_shows_how_to_start() -> None:
    (line,) = study_list([])
    assert "finesweep sweep study=NAME" in line
