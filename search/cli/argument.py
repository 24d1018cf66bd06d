"""Parse the flags and key=value words that all commands share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from lightning_modules.error import ConfigError, Problem, Verbatim, did_you_mean
from lightning_modules.machine.path import typed_path
from search.cli.help import composing_help


def parse(
    name: str, about: str, words: Sequence[str], *, flags: Sequence[str] = ()
) -> argparse.Namespace:
    """Return the parsed words of a command.

    Args:
        name: The command.
        about: Description and examples for `--help`; a command that composes a configuration
            also lists its groups and keys in between.
        words: The arguments after the command's name.
        flags: `json` adds `--json`, `watch` adds `--watch`, `yes` adds `--yes`, `config` adds the
            options of a command that composes a configuration, `own` only `--config-dir`.

    """
    parser = _Parser(name, about, composes="config" in flags)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help=argparse.SUPPRESS)
    if "json" in flags:
        parser.add_argument("--json", action="store_true", help="print JSON")
    if "watch" in flags:
        parser.add_argument("--watch", action="store_true", help="follow it until it is over")
    if "yes" in flags:
        parser.add_argument("--yes", action="store_true", help="do not ask")
    if "config" in flags:
        parser.add_argument("--cfg", choices=["job"], help="print the configuration and exit")
        parser.add_argument("-m", "--multirun", action="store_true", help=argparse.SUPPRESS)
    if "config" in flags or "own" in flags:
        parser.add_argument(
            "--config-dir", type=typed_path, metavar="DIR", help="a folder with more group options"
        )
    return parser.parse_intermixed_args(list(words))


class _Parser(argparse.ArgumentParser):
    """Adds the groups and keys of `conf/` to the help; reads them only if help is printed."""

    def __init__(self, name: str, about: str, *, composes: bool) -> None:
        super().__init__(
            prog=f"finesweep {name}",
            usage="%(prog)s [key=value ...] [options]",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self._name = name
        self._about = about
        self._composes = composes

    def format_help(self) -> str:
        self.description = self._about
        if self._composes:
            self.description = composing_help(self._name, self._about)
        return super().format_help()


def keys(words: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """Return the `key=value` words of a command that composes no configuration.

    Args:
        words: The words.
        known: The meaning of every key that the command takes.

    """
    problems, found = [], {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            problems.append(Problem(key, "must have the form key=value", word))
        elif key not in known:
            fix = did_you_mean(key, known)
            problems.append(Problem(key, "must be a known key", Verbatim(key), fix))
        else:
            found[key] = value
    if problems:
        raise ConfigError(problems)
    return found


def pairs(words: Sequence[str]) -> dict[str, str]:
    """Return the `key=value` words of a command that takes any key."""
    return keys(words, {word.partition("=")[0]: "" for word in words})


def one_of(command: str, found: Mapping[str, str], names: Sequence[str]) -> str:
    """Return the one key that is given; raise ConfigError unless exactly one is."""
    given = [name for name in names if name in found]
    if len(given) != 1:
        all_but_last = ", ".join(f"{name}=" for name in names[:-1])
        rule, fix = (
            f"must be given one of {all_but_last} and {names[-1]}=",
            f"Write {names[0]}=mine.",
        )
        raise ConfigError(Problem(command, rule, Verbatim(", ".join(given) or "none"), fix))
    needed(found, given[0], "NAME")
    return given[0]


def needed(found: Mapping[str, str], key: str, meaning: str) -> str:
    """Return the value of a key that must be given."""
    if not found.get(key):
        raise ConfigError(Problem(key, "must be set", Verbatim("nothing"), f"Set {key}={meaning}."))
    return found[key]


def attempt_of(text: str) -> tuple[int, int]:
    """Return the trial and the attempt that `finesweep ask` names.

    >>> attempt_of("3"), attempt_of("3.2")
    ((3, 1), (3, 2))
    """
    number, dot, attempt = text.partition(".")
    if not number.isdecimal() or (dot and not attempt.isdecimal()):
        rule = "must be named as by finesweep ask, e.g. 3 or, for its second attempt, 3.2"
        raise ConfigError(Problem("trial", rule, text))
    return int(number), int(attempt or 1)


def trial_of(found: Mapping[str, str]) -> int | None:
    """Return the number of the trial that `trial=` names; None without it."""
    text = found.get("trial")
    if text is not None and not text.isdecimal():
        raise ConfigError(Problem("trial", "must be a whole number >= 0", text))
    return None if text is None else int(text)


def number_of(key: str, text: str) -> float:
    """Return a number of the command line; it may be NaN or infinite."""
    try:
        return float(text)
    except ValueError:
        raise ConfigError(Problem(key, "must be a number", text)) from None
