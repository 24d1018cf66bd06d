from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from lightning_modules.rows.cell import Refused
from lightning_modules.rows.number import number


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("3", 3.0),
        (" 3.50 ", 3.5),
        ("+.5", 0.5),
        ("-7.", -7.0),
        ("1e-3", 0.001),
        ("2E+2", 200.0),
        (0, 0.0),
        (-2.25, -2.25),
        ("-0", 0.0),
        (Decimal("3.50"), 3.5),
    ],
)
def test_a_number_is_read_as_it_is_written(cell: Any, value: float) -> None:
    found = number(cell)
    assert isinstance(found, float) and found == value


@pytest.mark.parametrize(
    ("cell", "rule"),
    [
        (None, "must not be empty"),
        (" ", "must not be empty"),
        ("three", "must be a number"),
        ("3 stars", "must be a number"),
        ("1_000", "must be a number"),
        ("0x10", "must be a number"),
        ("٣", "must be a number"),
        ("3.4.5", "must be a number"),
        ("e5", "must be a number"),
        ("−3", "must be a number"),
        (True, "must be a number"),
        ([3], "must be a number"),
        ("3,5", "must be a number without a comma"),
        ("1,000", "must be a number without a comma"),
        ("1.234,5", "must be a number without a comma"),
        ("nan", "must be a finite number"),
        ("-Infinity", "must be a finite number"),
        (float("nan"), "must be a finite number"),
        (float("inf"), "must be a finite number"),
        ("1e999", "must be a finite number"),
        (10**400, "must be a finite number"),
        ("1e31", "must be at most 1e+30 in size"),
    ],
)
def test_anything_else_is_refused(cell: Any, rule: str) -> None:
    found = number(cell)
    assert isinstance(found, Refused) and found.rule == rule
    assert found.fix
