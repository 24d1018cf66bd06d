"""Packages of the user's own: only the person who runs a command decides which are imported.

`search.plugins` of a configuration that they compose names them, i.e. their command line or a file
of their own, and so does the variable FINESWEEP_PLUGINS. A study's database, a run's folder and an
export's manifest may come from elsewhere, so what these name is imported only if it is named again.

What a command names is kept in the variable, which the processes that it starts inherit.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from lightning_modules.error import ConfigError, Problem, Verbatim
from search.config.override import parse_override

PLUGINS = "search.plugins"
VARIABLE = "FINESWEEP_PLUGINS"

COMPOSE = ("sweep", "plan", "check", "train")
"""Commands that compose a configuration, in which the word has its place."""


class NotNamed(ConfigError):
    """A study would import packages that the command does not name."""


def named_plugins() -> tuple[str, ...]:
    """Return the packages that the person has named in this process, or in their shell.

    Raises:
        ConfigError: The variable does not list packages.

    """
    text = os.environ.get(VARIABLE, "")
    names = tuple(name.strip() for name in text.strip("[]").split(",") if name.strip())
    for name in names:
        if not name.isidentifier():
            fix = f"Write {VARIABLE}=my_package, or more with commas."
            raise ConfigError(Problem(VARIABLE, "must list packages", text, fix))
    return names


def name_plugins(names: Iterable[str]) -> None:
    """Add packages to those that the person has named."""
    known = named_plugins()
    new = [name for name in dict.fromkeys(names) if name not in known and name.isidentifier()]
    if new:
        os.environ[VARIABLE] = ",".join((*known, *new))


def take_plugins(command: str, words: Sequence[str]) -> list[str]:
    """Name the packages of `search.plugins=[...]`; return the words that the command still needs.

    Raises:
        ConfigError: The value is no list of packages.

    """
    others = []
    for word in words:
        if word.partition("=")[0] != PLUGINS:
            others.append(word)
            continue
        names = _typed(word)
        if names is not None:
            name_plugins(names)
        if command in COMPOSE:
            others.append(word)  # a wrong value is reported with everything else
        elif names is None:
            fix = f"Write '{PLUGINS}=[my_package]'."
            raise ConfigError(Problem(PLUGINS, "must be a list of packages", Verbatim(word), fix))
    return others


def packages_of(config: DictConfig | Mapping[str, Any]) -> tuple[str, ...]:
    """Return the packages besides ours that a checked configuration may import."""
    return tuple(dict.fromkeys([*_listed(config), *named_plugins()]))


def check_named(study: str, trees: Iterable[Mapping[str, Any]], words: Iterable[str]) -> None:
    """Raise NotNamed if a stored study would import packages that nobody here has named.

    Args:
        study: Its name.
        trees: The stored configurations of its arms.
        words: The stored overrides, which may be composed again.

    """
    wanted = dict.fromkeys([*(name for tree in trees for name in _listed(tree)), *_in_words(words)])
    known = named_plugins()
    if missing := [name for name in wanted if name not in known]:
        rule = f"study {study} imports {', '.join(missing)}, which the command must name"
        whole = ",".join((*known, *missing))
        fix = f"If you trust it, add '{PLUGINS}=[{whole}]', or export {VARIABLE}={whole}."
        raise NotNamed(Problem(PLUGINS, rule, Verbatim(f"[{', '.join(known)}]"), fix))


def _listed(config: DictConfig | Mapping[str, Any]) -> tuple[str, ...]:
    if isinstance(config, DictConfig):
        names = OmegaConf.select(config, PLUGINS, default=[])
    else:
        search = config.get("search")
        names = search.get("plugins") if isinstance(search, Mapping) else search
        if "${" in str(names):  # the list, or all of `search`, is another key's
            names = OmegaConf.select(OmegaConf.create(dict(config)), PLUGINS)
    # Anything but a list of names is reported when the settings are built.
    is_list = isinstance(names, list | ListConfig)
    return tuple(str(name) for name in names if name) if is_list else ()


def _in_words(words: Iterable[str]) -> Iterator[str]:
    """Yield the packages that overrides name, in any notation."""
    for word in words:
        key = parse_override(word).key
        if key == PLUGINS and (names := _typed(word)) is not None:
            yield from names
        elif key == "search" or key.split("[")[0].startswith(PLUGINS):
            yield word


def _typed(word: str) -> list[str] | None:
    """Return the packages of the word; None if it is no list of them."""
    parsed = parse_override(word)
    names = None if parsed.problem is not None or parsed.is_range else parsed.parsed.value()
    is_list = isinstance(names, list) and all(str(name).isidentifier() for name in names)
    return [str(name) for name in names] if is_list and isinstance(names, list) else None
