"""The overrides of a command line: Hydra's grammar, plus the arms that an override applies to.

`strategy.rank=8` applies to every arm that has the key; `optimizer.lr[lora]=1e-3` only to arms
that have chosen the option `lora`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep
from hydra.core.override_parser.types import Override as HydraOverride
from hydra.errors import HydraException

from lightning_modules.error import ConfigError, Problem, Verbatim
from search.config.grammar import parse
from search.space.name import split_options, tagged

_FOR_AN_ARM = re.compile(r"(?P<key>[\w.]+)\[(?P<options>[\w.,\- ]+)\]=(?P<value>.*)", re.DOTALL)
_PLAIN_WORD = re.compile(r"[\w./-]+")


@dataclass(frozen=True)
class Override:
    """One override.

    Attributes:
        key: The config path or group.
        options: The group options that an arm must have chosen for it to apply; () for all arms.
        parsed: The override without the options, as parsed by Hydra.

    """

    key: str
    options: tuple[str, ...]
    parsed: HydraOverride

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
    """Parse an override; raise ConfigError if it is malformed."""
    for_arm = _FOR_AN_ARM.fullmatch(text)
    options: tuple[str, ...] = ()
    if for_arm is not None:
        text = f"{for_arm['key']}={for_arm['value']}"
        options = split_options(for_arm["options"])
    try:
        parsed = parse(text)
    except HydraException as error:
        first = str(error).splitlines()[0]
        key = text.split("=", maxsplit=1)[0] if "=" in text else text
        if "=" not in text:
            rule, fix = (
                "must have the form key=value",
                f"Write {text}=VALUE, or see --help. A shell ",
            )
            fix += "needs quotes around a value with spaces: 'data.text=my column'."
        else:
            rule = "must follow Hydra's override grammar"
            fix = f"{first}. In a shell, quote brackets and parentheses. Hydra also needs quotes "
            fix += f"around letters that are not English: '{key}=\"...\"'."
        raise ConfigError(Problem(key, rule, text, fix)) from None
    return Override(parsed.key_or_group, options, parsed)


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
    """Return a value written in Hydra's grammar."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and not _PLAIN_WORD.fullmatch(value):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return str(value)
