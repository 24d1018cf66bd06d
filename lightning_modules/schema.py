"""The base of every typed config: a frozen, flat, keyword-only dataclass that checks itself.

Values are in `conf/`, types and meaning in the dataclasses. A subclass yields the rules that its
values break from `problems`; all are raised at once, before anything expensive.
"""

from __future__ import annotations

import importlib
import math
from abc import ABC
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from inspect import isabstract
from typing import Any, ClassVar, TypeVar

from lightning_modules.error import ConfigError, Problem

MAX_TOKENS = 10_000_000
"""More tokens than any model reads."""
MAX_INT = 2**63 - 1
OUR_PACKAGES = ("lightning_modules", "search")


@dataclass(frozen=True, kw_only=True)
class Schema(ABC):  # noqa: B024 - its bases have the abstract methods
    """A member of a config group, as a value."""

    words: ClassVar[frozenset[str]] = frozenset()
    """Fields whose values are text, or lists of it, although their type is Any."""

    def __post_init__(self) -> None:
        problems = list(self.problems())
        problems += _too_large(self, {problem.where for problem in problems})
        if problems:
            raise ConfigError(problems)

    def problems(self) -> Iterator[Problem]:
        """Yield every rule that the values break; `where` is the field's name."""
        return iter(())


def positive(schema: Schema, *names: str) -> Iterator[Problem]:
    """Yield a problem for each named field that is not > 0 and finite; None passes."""
    for field in names:
        value = getattr(schema, field)
        if value is not None and not (value > 0 and math.isfinite(value)):
            yield Problem(field, "must be > 0", value, f"Set {field} to a positive number.")


def countable(schema: Schema, *names: str) -> Iterator[Problem]:
    """Yield a problem for each named number of tokens that no model reads; None passes."""
    for field in names:
        value = getattr(schema, field)
        if value is not None and value > MAX_TOKENS:
            rule = f"must be <= {MAX_TOKENS:,} tokens, more than any model reads"
            yield Problem(field, rule, value)


def _too_large(schema: Schema, others: Collection[str]) -> Iterator[Problem]:
    """Yield a problem for each whole number, but for others, that torch and Arrow cannot hold."""
    for field in fields(schema):
        value = getattr(schema, field.name)
        if field.name in others:
            continue
        if isinstance(value, int) and not -MAX_INT - 1 <= value <= MAX_INT:
            yield Problem(field.name, f"must be <= {MAX_INT:,} in size, which has 64 bits", value)


def within(schema: Schema, low: float, high: float, *names: str) -> Iterator[Problem]:
    """Yield a problem for each named field outside [low, high); None passes."""
    for field in names:
        value = getattr(schema, field)
        if value is not None and not low <= value < high:
            yield Problem(field, f"must be >= {low} and < {high}", value)


def member_of(value: Any) -> str:
    """Return a member's name: the name of its file, or its path on the hub."""
    name = type(value).__module__.rsplit(".", 1)[-1]
    return str(value.path) if name == "hub" else name


S = TypeVar("S", bound=Schema)


def import_member(target: str, kind: type[S], where: str, packages: Sequence[str] = ()) -> type[S]:
    """Return the class that `target` names; import it only from our packages and `packages`.

    Args:
        target: Module and class, e.g. `lightning_modules.strategy.lora.Lora`.
        kind: The class must be a concrete subclass of this one.
        where: The config key for a problem.
        packages: Further packages that may be imported.

    Raises:
        ConfigError: It is in another package, cannot be imported, or is no such subclass.

    """
    allowed = (*OUR_PACKAGES, *packages)
    module_name, _, class_name = target.rpartition(".")
    if module_name.split(".")[0] not in allowed:
        rule = f"must be in one of the packages {', '.join(allowed)}"
        names = ",".join((*packages, module_name.split(".")[0]))
        fix = f"If you trust its code, add 'search.plugins=[{names}]'."
        raise ConfigError(Problem(where, rule, target, fix))
    try:
        member = getattr(importlib.import_module(module_name), class_name, None)
    except ImportError as error:
        rule = "must name a class that can be imported"
        raise ConfigError(Problem(where, rule, target, f"{error}.")) from None
    if not isinstance(member, type) or not issubclass(member, kind) or isabstract(member):
        raise ConfigError(Problem(where, f"must be a concrete subclass of {kind.__name__}", target))
    return member
