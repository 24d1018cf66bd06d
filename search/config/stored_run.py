"""Continue an interrupted run under the configuration that it began with.

The defaults of `conf/` may have changed since, e.g. with a newer version. So a setting that the
command does not name has the stored value; one that it names must have it. A key that the stored
configuration lacks means what its absence meant (`search.config.legacy`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lightning_modules.error import ConfigError, Problem
from search.config.build import Tree, leaves
from search.config.legacy import completed
from search.config.revision import REVISION, is_unnamed

_NAME = "run"


def continued(now: Tree, words: Sequence[str], stored: Tree) -> tuple[Tree, list[str]]:
    """Return the configuration to continue with, and what of it a new run would have otherwise.

    Args:
        now: The resolved configuration of the command.
        words: The overrides that it names.
        stored: The resolved configuration that the run began with.

    Raises:
        ConfigError: Lists every named setting that differs from the stored one.

    """
    before = _whole(completed(stored), now)
    check_same(now, before, lambda path: _is_named(path, words, now, before))
    old, new = leaves(before), leaves(now)
    kept = [
        f"{path}={value} (a new run: {new.get(path, 'none')})"
        for path, value in old.items()
        if path != _NAME
        and (path not in new or new[path] != value)
        and not (path == REVISION and is_unnamed(new))
    ]
    return {**before, _NAME: now[_NAME]}, kept


def check_same(now: Tree, before: Tree, counts: Callable[[str], bool] = lambda _: True) -> None:
    """Refuse settings that differ from those that a run began with, among those that count.

    Raises:
        ConfigError: Lists them.

    """
    old, new = leaves(completed(before)), leaves(now)
    problems = [
        Problem(path, "must be as the run began to continue it", new.get(path), _fix(path, old))
        for path in dict.fromkeys([*new, *old])
        if path != _NAME and counts(path) and not _is_equal(path, old, new)
    ]
    if problems:
        raise ConfigError(problems)


def _whole(before: Tree, now: Tree) -> Tree:
    """Return the stored tree with today's value of keys that are new to the same schemas."""

    def parts() -> Iterator[tuple[str, Any]]:
        for key, node in before.items():
            other = now.get(key)
            is_same = isinstance(node, Mapping) and isinstance(other, Mapping)
            if is_same and other and node.get("_target_") == other.get("_target_"):
                yield key, {**other, **node}
            else:
                yield key, node

    return {**{key: node for key, node in now.items() if key not in before}, **dict(parts())}


def _is_named(path: str, words: Sequence[str], now: Tree, before: Tree) -> bool:
    """Return whether the overrides decide a setting, rather than a default."""
    if path == REVISION and is_unnamed(leaves(now)):
        return False
    keys = [word.partition("=")[0].lstrip("+~") for word in words]
    if "experiment" in keys:  # it may set any key
        return True
    groups = {key for key in keys if "." not in key and isinstance(now.get(key), Mapping)}
    if any(path == key or path.startswith(f"{key}.") for key in keys if key not in groups):
        return True
    # Text says which model or data an option is; a number is its default.
    texts = (leaves(tree).get(path) for tree in (now, before))
    return path.partition(".")[0] in groups and any(isinstance(text, str) for text in texts)


def _is_equal(path: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return path in one and path in other and bool(one[path] == other[path])


def _fix(path: str, old: Mapping[str, Any]) -> str:
    was = f"Set {path}={old[path]}" if path in old else "Remove it"
    return f"{was}, or choose another run=NAME."
