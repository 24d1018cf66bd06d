"""Keep words as they were typed, for keys whose value is text: a name, a column, a path, a label.

Hydra reads a bare `1e-4`, `2024_01_01` or `true` as a number or a truth value, and writes it back
in another spelling: `study=62e4123` would be the study `inf`. A key is text if its schema says so:
`str`, or a list or mapping of `str`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from hydra.core.override_parser.types import ChoiceSweep, QuotedString, Sweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from lightning_modules.error import ConfigError, Problem
from lightning_modules.schema import Schema, import_member
from search.config.build import GROUPS, Tree, leaves
from search.config.grammar import parse_words
from search.config.override import Override, literal, parse_override
from search.config.plugin import packages_of
from search.config.settings import SearchSettings
from search.pruner.base import Pruner
from search.sampler.base import Sampler

ENQUEUE = "search.enqueue"
_NAMES: Mapping[str, Any] = {"study": str, "run": str | None}
_BASES: Mapping[str, type[Schema]] = {
    **GROUPS,
    "search.sampler": Sampler,
    "search.pruner": Pruner,
}


def typed_name(text: str) -> str:
    """Return the name that an override such as `study=1e-4` gives, as it was typed."""
    return str(_plain(_in_words(parse_override(text), str).parsed.value()))


def typed_names(text: str) -> list[str]:
    """Return the names that an override such as `input=[a.csv,1e-4.csv]` gives, as typed."""
    override = _in_words(parse_override(text), list[str])
    if override.problem is not None:
        raise ConfigError(override.problem)
    found = _plain(override.parsed.value())
    return [str(each) for each in found] if isinstance(found, list) else [str(found)]


def typed_words(override: Override, config: DictConfig | Tree) -> Override:
    """Return the override with bare words kept as text, if the configuration's key is text.

    Of `search.enqueue`, they are kept for the keys of its entries that are text.
    """
    if override.key == ENQUEUE:
        return _in_entries(override, config)
    hint = hint_of(config, override.key)
    return _in_words(override, hint) if _is_text(hint) else override


def typed_range(path: str, text: str, config: DictConfig | Tree) -> str:
    """Return a range, as text, with bare words kept as text if the configuration's key is text."""
    if not _is_text(hint_of(config, path)):
        return text
    return typed_words(parse_override(f"{path}={text}"), config).value


def number_problems(tree: Tree) -> Iterator[Problem]:
    """Yield a problem for each key of a tree that is text, but has another type in YAML."""
    for path, value in leaves(tree).items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, bool | int | float) and _is_text(hint_of(tree, path)):
                kind = "true or false" if isinstance(each, bool) else "a number"
                rule = f"must be text; YAML reads it as {kind}"
                fix = f'Write it in quotes in the YAML file, e.g. {path.rpartition(".")[2]}: "...".'
                yield Problem(path, rule, each, fix)


def as_text(tree: Tree) -> Tree:
    """Return a stored tree with the numbers of its text keys as text.

    Earlier versions stored a bare 2024 as a number and read the text "2024" from it.
    """
    changed = [
        path
        for path, value in leaves(tree).items()
        if isinstance(value, bool | int | float) and _is_text(hint_of(tree, path))
    ]
    whole = dict(tree)
    for path in changed:
        _set(whole, path.split("."))
    return whole


def _set(node: Tree, path: list[str]) -> None:
    """Make the value at a path text, without changing the mappings shared with another tree."""
    first, *rest = path
    if rest:
        node[first] = dict(node[first])
        _set(node[first], rest)
    else:
        node[first] = str(node[first])


def hint_of(config: DictConfig | Tree, key: str) -> Any:
    """Return the type of a config path, as its schema says; None if it is unknown."""
    if key in _NAMES:
        return _NAMES[key]
    for group, base in _BASES.items():
        name = key.removeprefix(f"{group}.")
        if name != key:
            target = _select(config, f"{group}._target_")
            return _hint(str(target), base, packages_of(config), name) if target else None
    name = key.removeprefix("search.")
    return get_type_hints(SearchSettings).get(name) if name != key else None


@cache
def _hint(target: str, base: Any, packages: tuple[str, ...], name: str) -> Any:
    try:
        member = import_member(target, base, "", packages)
    except ConfigError:
        return None  # reported when the run is built
    first, _, rest = name.partition(".")
    hint = str | None if first in member.words else get_type_hints(member).get(first)
    if not rest:
        return hint
    return get_args(hint)[1] if get_origin(hint) is dict else None


def _select(config: DictConfig | Tree, path: str) -> Any:
    if isinstance(config, DictConfig):
        return OmegaConf.select(config, path)
    node: Any = config
    for name in path.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    return node


def _is_text(hint: Any) -> bool:
    """Return whether values of a type are text: str, or a list or mapping of it, or None."""
    if get_origin(hint) in (Union, UnionType):
        return all(each is type(None) or _is_text(each) for each in get_args(hint))
    if get_origin(hint) in (list, dict):
        return get_args(hint)[-1] is str
    return hint is str


def _in_words(override: Override, hint: Any) -> Override:
    if override.problem is not None:
        # A value that Hydra cannot read is one text as it was typed: data (1).csv, {question}?
        is_one = get_origin(hint) not in (list, dict)
        return replace(override, problem=None) if is_one else override
    typed = override.parsed.value()
    if override.parsed.is_delete() or (
        isinstance(typed, Sweep) and not isinstance(typed, ChoiceSweep)
    ):
        return override
    try:
        words = parse_words(override.text)
    except HydraException:  # a function that takes numbers
        return override
    if words is None and hint is str:
        words = override.value  # a study can be called null
    if _same(typed, words):
        return override
    if isinstance(words, ChoiceSweep):
        value = f"choice({','.join(literal(_plain(each)) for each in words.list)})"
    else:
        value = literal(words)
    start = override.text[: override.text.index("=") + 1]
    return replace(parse_override(start + value), options=override.options)


def _in_entries(override: Override, config: DictConfig | Tree) -> Override:
    if override.problem is not None or override.is_range or override.parsed.is_delete():
        return override
    typed, words = _plain(override.parsed.value()), _plain(parse_words(override.text))
    if not isinstance(typed, list) or not all(isinstance(each, dict) for each in typed):
        return override  # reported when the settings are built
    entries = [
        {
            key: text if _is_text(hint_of(config, str(key))) else value
            for (key, value), text in zip(entry.items(), texts.values(), strict=True)
        }
        for entry, texts in zip(typed, words, strict=True)
    ]
    if repr(entries) == repr(typed):
        return override
    start = override.text[: override.text.index("=") + 1]
    return replace(parse_override(start + literal(entries)), options=override.options)


def _same(typed: Any, words: Any) -> bool:
    if isinstance(typed, ChoiceSweep) and isinstance(words, ChoiceSweep):
        return repr(typed.list) == repr(words.list)
    return repr(_plain(typed)) == repr(_plain(words))


def _plain(value: Any) -> Any:
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(each) for key, each in value.items()}
    return value
