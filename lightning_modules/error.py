"""What a user did wrong, in words: one clear line a problem, never a traceback."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches


@dataclass(frozen=True)
class Problem:
    """One mistake: where it is, the rule, what was found and how to mend it.

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
        """Return the same problem, its place read relative to config key `key`."""
        return replace(self, where=f"{key}.{self.where}")


class Verbatim(str):
    """A found value that is shown as it is, without quotes."""


class UserError(Exception):
    """Root of all mistakes that a user can mend; carries every problem found at once."""

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems: Sequence[Problem] = (
            (problems,) if isinstance(problems, Problem) else tuple(problems)
        )
        assert self.problems, "a UserError names at least one problem"
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ConfigError(UserError):
    """A configuration value breaks a rule, or a key is unknown."""


class SpaceError(UserError):
    """A search space cannot be searched."""


class DataError(UserError):
    """A data file cannot be used as it is."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the fix for an unknown name: the nearest known one, or the whole list.

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
    """Return the known name that is meant by a misspelt one, in whatever case; None if none is.

    >>> nearest("MESSGAE", ["id", "Message"])
    'Message'
    """
    by_case = {each.casefold(): each for each in sorted(set(known), reverse=True)}
    near = get_close_matches(name.casefold(), by_case, n=1, cutoff=0.6)
    return by_case[near[0]] if near else None


def reason_of(error: BaseException) -> Verbatim:
    """Return in a line what went wrong first: libraries wrap it in words that say nothing."""
    while error.__cause__ is not None:
        error = error.__cause__
    line = (str(error).splitlines() or [""])[0].rstrip(" .:")
    return Verbatim(line or type(error).__name__)
