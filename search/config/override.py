"""The overrides of a command line: Hydra's override grammar, plus the arm that an override is for.

`strategy.rank=8` is for every arm that has the key; `optimizer.lr[lora]=1e-3` for those whose
choices include the option `lora`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep
from hydra.core.override_parser.types import Override as HydraOverride
from hydra.errors import HydraException

from lightning_modules.error import ConfigError, Problem, Verbatim
from search.space.name import split_options, tagged

_FOR_AN_ARM = re.compile(r"(?P<key>[\w.]+)\[(?P<options>[\w.,\- ]+)\]=(?P<value>.*)", re.DOTALL)
_PLAIN_WORD = re.compile(r"[\w./-]+")


@dataclass(frozen=True)
class Override:
    """One override.

    Attributes:
        key: The config path or group.
        options: The group options that an arm must have chosen for it to count; () for all arms.
        parsed: As Hydra parsed it, without the options.

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
        """What stands behind the equals sign."""
        return self.text.partition("=")[2]

    @property
    def shown(self) -> str:
        """The key as the user wrote it."""
        return tagged(self.key, self.options)

    @property
    def is_range(self) -> bool:
        """Whether it marks its key for searching."""
        return bool(self.parsed.is_sweep_override())

    def counts_in(self, choice: Mapping[str, str]) -> bool:
        """Say whether the override is for the arm with these options by group."""
        return set(self.options) <= set(choice.values())


def parse_override(text: str) -> Override:
    """Return the override; raise ConfigError where it is none."""
    for_arm = _FOR_AN_ARM.fullmatch(text)
    options: tuple[str, ...] = ()
    if for_arm is not None:
        text = f"{for_arm['key']}={for_arm['value']}"
        options = split_options(for_arm["options"])
    try:
        parsed = OverridesParser.create().parse_override(text)
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
    """Return the options that a range over a group names; None where it is no such list."""
    sweep = override.parsed.value()
    if not isinstance(sweep, ChoiceSweep) or sweep.tags:
        return None
    return tuple(str(getattr(element, "text", element)) for element in sweep.list)


def range_problem(key: str, text: str) -> Problem:
    """Return the problem of a range where one value is wanted."""
    rule = "a run has one value per key"
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
