"""The words of a command line: Hydra's override grammar, plus the arm that a word is for.

`strategy.rank=8` is for every arm that has the key; `optimizer.lr[lora]=1e-3` for those whose
choices include the member `lora`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException

from lightning_modules.error import ConfigError, Problem, Verbatim
from search.space.name import split_members, tagged

_FOR_AN_ARM = re.compile(r"(?P<key>[\w.]+)\[(?P<members>[\w.,\- ]+)\]=(?P<value>.*)", re.DOTALL)
_PLAIN_WORD = re.compile(r"[\w./-]+")


@dataclass(frozen=True)
class Word:
    """One override.

    Attributes:
        key: The config path or group.
        members: The group members that an arm must have chosen for it to count; () for all arms.
        override: As Hydra parsed it, without the members.

    """

    key: str
    members: tuple[str, ...]
    override: Override

    @property
    def text(self) -> str:
        """The word in Hydra's grammar."""
        assert self.override.input_line is not None
        return self.override.input_line

    @property
    def value(self) -> str:
        """What stands behind the equals sign."""
        return self.text.partition("=")[2]

    @property
    def shown(self) -> str:
        """The key as the user wrote it."""
        return tagged(self.key, self.members)

    @property
    def is_range(self) -> bool:
        """Whether it marks its key for searching."""
        return bool(self.override.is_sweep_override())

    def counts_in(self, choice: Mapping[str, str]) -> bool:
        """Say whether the word is for the arm with these members by group."""
        return set(self.members) <= set(choice.values())


def parse_word(text: str) -> Word:
    """Return the word; raise ConfigError where it is none."""
    for_arm = _FOR_AN_ARM.fullmatch(text)
    members: tuple[str, ...] = ()
    if for_arm is not None:
        text = f"{for_arm['key']}={for_arm['value']}"
        members = split_members(for_arm["members"])
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        first = str(error).splitlines()[0]
        key = text.split("=", maxsplit=1)[0] if "=" in text else text
        if "=" not in text:
            rule, fix = "must read key=value", f"Write {text}=VALUE, or see --help. A shell "
            fix += "wants a value with spaces quoted: 'data.text=my column'."
        else:
            rule = "must follow Hydra's override grammar"
            fix = f"{first}. In a shell, quote brackets and parentheses; Hydra wants other "
            fix += f"letters than English ones quoted too: '{key}=\"...\"'."
        raise ConfigError(Problem(key, rule, text, fix)) from None
    return Word(override.key_or_group, members, override)


def members_of(word: Word) -> tuple[str, ...] | None:
    """Return the members that a range over a group names; None where it is no such list."""
    sweep = word.override.value()
    if not isinstance(sweep, ChoiceSweep) or sweep.tags:
        return None
    return tuple(str(getattr(element, "text", element)) for element in sweep.list)


def range_problem(key: str, text: str) -> Problem:
    """Return the problem of a range where one value is wanted."""
    rule = "one run has one value a key"
    return Problem(key, rule, Verbatim(text), "Use finesweep sweep for ranges.")


def literal(value: Any) -> str:
    """Return a value in Hydra's grammar."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and not _PLAIN_WORD.fullmatch(value):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return str(value)
