"""The base of every typed config: a frozen, flat, keyword-only dataclass that checks itself.

Values live in `conf/`, types and meaning here. A subclass yields its broken rules from
`problems`; all of them are raised at once, before anything expensive.
"""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lightning_modules.error import ConfigError, Problem


@dataclass(frozen=True, kw_only=True)
class Schema(ABC):  # noqa: B024 - its bases have the abstract methods
    """A config group member as a value."""

    def __post_init__(self) -> None:
        problems = list(self.problems())
        if problems:
            raise ConfigError(problems)

    def problems(self) -> Iterator[Problem]:
        """Yield every rule that the values break; `where` is the field's name."""
        return iter(())


def positive(schema: Schema, *fields: str) -> Iterator[Problem]:
    """Yield a problem for each named field that is not > 0; None is let through."""
    for field in fields:
        value = getattr(schema, field)
        if value is not None and not (value > 0 and math.isfinite(value)):
            yield Problem(field, "must be > 0", value, f"Set {field} to a positive number.")


def within(schema: Schema, low: float, high: float, *fields: str) -> Iterator[Problem]:
    """Yield a problem for each named field outside [low, high); None is let through."""
    for field in fields:
        value = getattr(schema, field)
        if value is not None and not low <= value < high:
            yield Problem(field, f"must be >= {low} and < {high}", value)


def member_of(value: Any) -> str:
    """Return what a member is known by: its file's name, of the hub its own there."""
    name = type(value).__module__.rsplit(".", 1)[-1]
    return str(value.path) if name == "hub" else name
