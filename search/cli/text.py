"""Values as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def number(value: object) -> str:
    """Return a value in few digits.

    >>> number(0.00031622776), number(0.885), number(16), number(None)
    ('0.0003162', '0.885', '16', '-')
    """
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def settings(values: Mapping[str, Any]) -> str:
    """Return config values in one line.

    >>> settings({"optimizer.lr": 0.001, "trainer.epochs": 2})
    'optimizer.lr=0.001 trainer.epochs=2'
    """
    return " ".join(f"{path}={number(value)}" for path, value in values.items())


def duration(seconds: float) -> str:
    """Return a time span.

    >>> duration(7.31), duration(75), duration(7320)
    ('7.3 s', '1 min 15 s', '2 h 2 min')
    """
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def columns(rows: list[list[str]], gap: str = "  ") -> list[str]:
    """Return rows of cells as aligned lines."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        gap.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
