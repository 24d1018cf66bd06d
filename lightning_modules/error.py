"""Mistakes that the user can fix: one clear line per problem, never a traceback."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any


@dataclass(frozen=True)
class Problem:
    """One mistake: where it is, the rule, the value found and the fix.

    `where` is a config key (`optimizer.lr`) or a place in a file (`my.csv:12:stars`).
    """

    where: str
    rule: str
    got: object
    fix: str = ""

    def __str__(self) -> str:
        got = self.got if isinstance(self.got, Verbatim) else repr(self.got)
        line = f"{self.where}: {self.rule}, got {got}."
        return f"{line} {self.fix}".rstrip()

    def under(self, key: str) -> Problem:
        """Return the same problem with its place prefixed by config key `key`."""
        return replace(self, where=f"{key}.{self.where}")


class Verbatim(str):
    """A value that a message shows as it is, without quotes."""


class UserError(Exception):
    """The base of all mistakes that the user can fix; holds every problem found."""

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems: Sequence[Problem] = (
            (problems,) if isinstance(problems, Problem) else tuple(problems)
        )
        assert self.problems, "a UserError needs at least one problem"
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows: a traceback does not help to mend these."""
        return [f"{type(self).__name__}: {self}"]


class ConfigError(UserError):
    """A config value breaks a rule, or a key is unknown."""


class SpaceError(UserError):
    """A search space cannot be searched."""


class DataError(UserError):
    """The data cannot be used as it is.

    Attributes:
        every: All problems, of which `problems` may be the first few.
        rest: All rows, with None in place of those that have a problem; None if the file could
            not be read as rows.

    """

    def __init__(
        self,
        problems: Problem | Iterable[Problem],
        every: Sequence[Problem] | None = None,
        rest: Sequence[Any] | None = None,
    ) -> None:
        super().__init__(problems)
        self.every = self.problems if every is None else tuple(every)
        self.rest = rest


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the fix for an unknown name: the nearest known name, or all known names.

    >>> did_you_mean("batchsize", ["batch_size", "text"])
    'Did you mean batch_size?'
    >>> did_you_mean("zzz", ["b", "a"])
    'Known: a, b.'
    """
    names = sorted(set(known))
    near = nearest(name, names)
    if near is not None:
        return f"Did you mean {near}?"
    return f"Known: {', '.join(names)}." if names else ""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name nearest to a misspelt one, ignoring case; None if none is near.

    >>> nearest("MESSGAE", ["id", "Message"])
    'Message'
    """
    by_case = {each.casefold(): each for each in sorted(set(known), reverse=True)}
    near = get_close_matches(name.casefold(), by_case, n=1, cutoff=0.6)
    return by_case[near[0]] if near else None


def reason_of(error: BaseException) -> Verbatim:
    """Return the first line of the root cause; the errors that libraries wrap it in say less."""
    while error.__cause__ is not None:
        error = error.__cause__
    line = (str(error).splitlines() or [""])[0].rstrip(" .:")
    return Verbatim(line or type(error).__name__)
