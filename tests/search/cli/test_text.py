from __future__ import annotations

import pytest

from search.cli.text import columns, duration, number, settings


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
def test_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_duration_never_shows_sixty_seconds() -> None:
    assert duration(59.97) == "1 min 0 s"


def test_columns_are_aligned_without_trailing_blanks() -> None:
    assert columns([["", "metric"], ["best", "0.9"]]) == ["      metric", "best  0.9"]
