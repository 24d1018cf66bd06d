"""A configuration that trials change in a few values: what they leave as it is is built once.

OmegaConf takes 30 ms of a core to build a whole configuration. The values of a trial affect the
keys at the top of the tree in which they are, e.g. `optimizer`, and those that refer to them. Only
these are built again, in a tree that also has what they refer to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lightning_modules.run import Run
from lightning_modules.schema import Schema
from search.config.build import GROUPS, Tree, build_run, run_tree, to_yaml


@dataclass
class Template:
    """The tree of an arm, for its trials."""

    tree: Tree
    _groups: dict[str, Schema] = field(default_factory=dict)
    _texts: dict[str, str] = field(default_factory=dict)

    def run(self, values: Mapping[str, Any]) -> Run:
        """Return the same as `build_run(tree, values)`, and raise the same."""
        affected = self._affected(values)
        known = {key: group for key, group in self._groups.items() if key not in affected}
        if known.keys() | affected >= GROUPS.keys():
            return build_run(self._part(affected, values), values, known)
        run = build_run(self.tree, values)
        self._groups |= {key: getattr(run, key) for key in GROUPS if key not in affected}
        return run

    def text(self, values: Mapping[str, Any]) -> str:
        """Return the same as `to_yaml(run_tree(tree, values))`."""
        affected = self._affected(values)
        if self._texts.keys() | affected == self.tree.keys():
            part = run_tree(self._part(affected, values), values)
            own = {key: to_yaml({key: part[key]}) for key in part if key in affected}
            texts = ((own if key in affected else self._texts).get(key, "") for key in self.tree)
            return "".join(texts)
        whole = run_tree(self.tree, values)
        self._texts |= {
            key: to_yaml({key: whole[key]}) if key in whole else ""
            for key in self.tree
            if key not in affected
        }
        return to_yaml(whole)

    def _affected(self, values: Mapping[str, Any]) -> set[str]:
        """Return the keys of the tree that the values change, also through references."""
        affected = {path.partition(".")[0] for path in values}
        num_before = -1
        while len(affected) > num_before:
            num_before = len(affected)
            affected |= {key for key, to in self._references.items() if to & affected}
        return affected

    def _part(self, keys: set[str], values: Mapping[str, Any]) -> Tree:
        """Return the tree with these keys, and with all that they refer to."""
        settings = self.tree.get("search")
        plugins = {"plugins": settings.get("plugins")} if isinstance(settings, Mapping) else None
        needed = keys | {"seed"} | _mentioned(list(values.values()), self.tree)
        if plugins is None or _mentioned(plugins, self.tree):
            needed = needed | {"search"}
        num_before = -1
        while len(needed) > num_before:
            num_before = len(needed)
            needed |= {to for key in needed for to in self._references.get(key, ())}
        part = {key: value for key, value in self.tree.items() if key in needed}
        return part if "search" in part else {**part, "search": plugins}

    @cached_property
    def _references(self) -> Mapping[str, set[str]]:
        """The keys of the tree to which each of them may refer."""
        return {key: _mentioned(value, self.tree) for key, value in self.tree.items()}


_ANY = re.compile(r"\$\{[^}]*\$\{|\$\{\s*(?!oc\.)[^}:]*:")
"""References that may yield any key: what an inner reference yields may be its name, and a resolver
that is not OmegaConf's own may read the whole tree."""


def _mentioned(value: Any, tree: Tree) -> set[str]:
    """Return the keys of the tree whose names the references in `value` have: too many at most."""
    found: set[str] = set()
    for text in _texts_of(value):
        if _ANY.search(text):
            return set(tree)
        if "${" in text:
            found |= tree.keys() & set(re.findall(r"\w+", text))
    return found


def _texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts_of(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts_of(each)
