"""The overrides of a command line: Hydra's grammar, plus the arms that an override applies to.

`strategy.rank=8` applies to every arm that has the key; `optimizer.lr[lora]=1e-3` only to arms
that have chosen the option `lora`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hydra._internal.grammar.utils import escape_special_characters
from hydra.core.override_parser.types import ChoiceSweep
from hydra.core.override_parser.types import Override as HydraOverride
from hydra.errors import HydraException

from lightning_modules.error import ConfigError, Problem, Verbatim
from search.config.grammar import parse
from search.space.name import split_options, tagged

_FOR_AN_ARM = re.compile(r"(?P<key>[\w.]+)\[(?P<options>[\w.,\- ]+)\]=(?P<value>.*)", re.DOTALL)
_PLAIN_WORD = re.compile(r"[\w./-]+", re.ASCII)
_NOT_TEXT = re.compile(r"[+-]?(\.?\d.*|inf|nan)|true|false|null", re.IGNORECASE | re.DOTALL)
_FUNCTION = re.compile(r"\s*(choice|range|interval|tag|sort|shuffle|glob|int|float|str|bool)\s*\(")


@dataclass(frozen=True)
class Override:
    """One override.

    Attributes:
        key: The config path or group.
        options: The group options that an arm must have chosen for it to apply; () for all arms.
        parsed: The override without the options, as parsed by Hydra.
        problem: Hydra's grammar cannot read its value, and it is parsed as one text. Only a key
            that is text can have it (`search.config.word`).

    """

    key: str
    options: tuple[str, ...]
    parsed: HydraOverride
    problem: Problem | None = None

    @property
    def text(self) -> str:
        """The override in Hydra's grammar."""
        assert self.parsed.input_line is not None
        return self.parsed.input_line

    @property
    def value(self) -> str:
        """The text after the equals sign."""
        return self.text.partition("=")[2]

    @property
    def shown(self) -> str:
        """The key as the user wrote it."""
        return tagged(self.key, self.options)

    @property
    def is_range(self) -> bool:
        """Whether the value is a range to search."""
        return bool(self.parsed.is_sweep_override())

    def counts_in(self, choice: Mapping[str, str]) -> bool:
        """Return whether the override applies to the arm with these options by group."""
        return set(self.options) <= set(choice.values())


def parse_override(text: str) -> Override:
    """Parse an override; raise ConfigError if it has no key and value.

    If Hydra's grammar cannot read the value, the override has a problem.
    """
    for_arm = _FOR_AN_ARM.fullmatch(text)
    options: tuple[str, ...] = ()
    if for_arm is not None:
        text = f"{for_arm['key']}={for_arm['value']}"
        options = split_options(for_arm["options"])
    problem = None
    try:
        parsed = parse(text)
    except HydraException as error:
        problem = _grammar_problem(text, error)
        key, equals, value = text.partition("=")
        if not equals or _FUNCTION.match(value):
            raise ConfigError(problem) from None
        try:
            parsed = parse(f"{key}={quoted(value)}")
        except HydraException:
            raise ConfigError(problem) from None
    return Override(parsed.key_or_group, options, parsed, problem)


def _grammar_problem(text: str, error: HydraException) -> Problem:
    first = str(error).splitlines()[0]
    if "=" not in text:
        fix = f"Write {text}=VALUE, or see --help. A shell "
        fix += "needs quotes around a value with spaces: 'data.text=my column'."
        return Problem(text, "must have the form key=value", text, fix)
    key = text.split("=", maxsplit=1)[0]
    fix = f"{first}. In a shell, quote brackets and parentheses. Hydra also needs quotes "
    fix += f"around letters that are not English: '{key}=\"...\"'."
    return Problem(key, "must follow Hydra's override grammar", text, fix)


def options_of(override: Override) -> tuple[str, ...] | None:
    """Return the options that a range over a group lists; None if it is not a list."""
    sweep = override.parsed.value()
    if not isinstance(sweep, ChoiceSweep) or sweep.tags:
        return None
    return tuple(_spelled(element) for element in sweep.list)


def _spelled(element: Any) -> str:
    return "null" if element is None else str(getattr(element, "text", element))


def range_problem(key: str, text: str) -> Problem:
    """Return the problem of a range where a single value is needed."""
    rule = "a run has one value per key"
    return Problem(key, rule, Verbatim(text), "Use finesweep sweep for ranges.")


def literal(value: Any) -> str:
    """Return a value written in Hydra's grammar, which reads the same value from it.

    >>> print(literal("lora"), literal("1e-4"), literal(1e-4), literal(["a b", None]))
    lora '1e-4' 0.0001 ['a b',null]
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(literal, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{_key(key)}:{literal(each)}' for key, each in value.items())}}}"
    if isinstance(value, str) and (not _PLAIN_WORD.fullmatch(value) or _NOT_TEXT.fullmatch(value)):
        return quoted(value)
    return str(value)


def quoted(text: str) -> str:
    r"""Return a text in Hydra's quotes, whose grammar unescapes only what precedes a quote.

    >>> print(quoted(r"{a}\n"), quoted("it's"))
    '{a}\n' 'it\'s'
    """
    inside = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return "'" + re.sub(r"(\\+)\Z", r"\1\1", inside) + "'"


def _key(key: Any) -> str:
    return escape_special_characters(str(key))
