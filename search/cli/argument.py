"""Parse what all commands share: flags and key=value words."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning_modules.error import ConfigError, Problem, Verbatim, did_you_mean


def parse(
    name: str, about: str, words: Sequence[str], *, flags: Sequence[str] = ()
) -> argparse.Namespace:
    """Return the parsed words of a command.

    Args:
        name: The command.
        about: Its help text, as it shall be printed.
        words: What follows the command.
        flags: `json` for a command that prints for programs, `config` for one that composes.

    """
    parser = argparse.ArgumentParser(
        prog=f"finesweep {name}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="see above")
    if "json" in flags:
        parser.add_argument("--json", action="store_true", help="print for programs")
    if "config" in flags:
        parser.add_argument("--cfg", choices=["job"], help="print the configuration and stop")
        parser.add_argument(
            "--config-dir", type=Path, metavar="DIR", help="a folder of further group members"
        )
        parser.add_argument("-m", "--multirun", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_intermixed_args(list(words))


def keys(words: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """Return `key=value` words of a command that composes no configuration.

    Args:
        words: The words.
        known: Key to what it means, all that the command takes.

    """
    problems, found = [], {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            problems.append(Problem(key, "must read key=value", word))
        elif key not in known:
            fix = did_you_mean(key, known)
            problems.append(Problem(key, "must be a known key", Verbatim(value), fix))
        else:
            found[key] = value
    if problems:
        raise ConfigError(problems)
    return found


def needed(found: Mapping[str, str], key: str, meaning: str) -> str:
    """Return the value of a key that must be given."""
    if not found.get(key):
        raise ConfigError(Problem(key, "must be set", Verbatim("nothing"), f"Set {key}={meaning}."))
    return found[key]
