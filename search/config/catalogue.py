"""The contents of `conf/` as values: the groups, their options, and what each key means.

Headlines, values and comments come from the YAML files, meanings from the docstrings of their
`_target_` classes, so that help and reference always agree with the code.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml
from yaml.error import Mark
from yaml.nodes import MappingNode, Node

TARGET = "_target_"
PACKAGE = "# @package"
"""Where a file's values go; Hydra requires it on line 1, so the headline is on line 2."""
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # four times as fast in C


@dataclass(frozen=True)
class Key:
    """One value of a YAML file.

    Attributes:
        path: Config path within the file, e.g. `lr` or `search.keep`.
        value: The value as written.
        comment: The comment after it or on the lines above; may be empty.

    """

    path: str
    value: str
    comment: str


@dataclass(frozen=True)
class Option:
    """One YAML file of a group.

    Attributes:
        group: The group, e.g. `strategy` or `search/sampler`.
        name: The name to choose it by, e.g. `lora` in `strategy=lora`.
        headline: What it is, in one line.
        notes: The comment below the headline; may be empty.
        target: The class that types its keys; None if it has none.
        keys: Its keys in file order, without `_target_`.

    """

    group: str
    name: str
    headline: str
    notes: str
    target: str | None
    keys: tuple[Key, ...]


@dataclass(frozen=True)
class Group:
    """A group that a command composes.

    Attributes:
        name: Its folder, e.g. `strategy` or `search/sampler`.
        about: What it decides, in a few words.
        default: The option used if the command names none; None for no option.
        options: Its options, sorted by name.

    """

    name: str
    about: str
    default: str | None
    options: tuple[Option, ...]


def load_groups(conf_dir: Path, command: str) -> tuple[Group, ...]:
    """Return the groups that `conf_dir/COMMAND.yaml` composes, in file order."""
    return tuple(
        Group(key.path, key.comment, yaml.safe_load(key.value), _load_options(conf_dir, key.path))
        for key in _load_defaults(conf_dir / f"{command}.yaml")
    )


def load_settings(conf_dir: Path, command: str) -> tuple[Key, ...]:
    """Return the keys of `conf_dir/COMMAND.yaml` that belong to no group."""
    return tuple(_load_file(conf_dir / f"{command}.yaml")[1])


def load_class(target: str) -> type:
    """Return the class that a `_target_` names."""
    module, _, name = target.rpartition(".")
    loaded = getattr(importlib.import_module(module), name)
    assert isinstance(loaded, type), f"{target} is not a class"
    return loaded


def module_text(kind: type) -> str:
    """Return the docstring of the class's module: the method, its paper, an example."""
    return cleandoc(importlib.import_module(kind.__module__).__doc__ or "")


def meanings(kind: type) -> dict[str, str]:
    """Return the description of each attribute, by name, from the class and its bases.

    >>> from lightning_modules.optimizer.adamw import Adamw
    >>> meanings(Adamw)["lr"]
    'Peak learning rate, > 0; the schedule scales it.'
    """
    attributes: dict[str, str] = {}
    for part in reversed(kind.__mro__):
        attributes |= _attributes(cleandoc(part.__doc__ or ""))
    return attributes


def _attributes(docstring: str) -> Mapping[str, str]:
    lines = docstring.splitlines()
    if "Attributes:" not in lines:
        return {}
    attributes: dict[str, str] = {}
    name = ""
    for line in lines[lines.index("Attributes:") + 1 :]:
        if line and not line.startswith(" "):
            break  # the next section
        entry = re.fullmatch(r" {4}(\w+): (.*)", line)
        if entry:
            name = entry[1]
            attributes[name] = entry[2]
        elif line.strip():
            attributes[name] += f" {line.strip()}"
    return attributes


def _load_options(conf_dir: Path, group: str) -> tuple[Option, ...]:
    paths = sorted((conf_dir / group).glob("*.yaml"))
    return tuple(_load_option(group, path) for path in paths)


def _load_option(group: str, path: Path) -> Option:
    head, keys = _load_file(path)
    headline, *notes = head or ("",)
    target = next((key.value for key in keys if key.path == TARGET), None)
    values = tuple(key for key in keys if key.path != TARGET)
    return Option(group, path.stem, headline, " ".join(notes), target, values)


def _load_defaults(path: Path) -> Iterator[Key]:
    """Yield the entries of the defaults list that name a group, each as a key."""
    text = path.read_text(encoding="utf-8")
    root = yaml.compose(text, Loader=_LOADER)
    assert isinstance(root, MappingNode), f"{path} has a defaults list"
    (entries,) = (value for name, value in root.value if name.value == "defaults")
    for entry in entries.value:
        if isinstance(entry, MappingNode):
            yield from _keys(entry, [*text.splitlines(), ""])


def _load_file(path: Path) -> tuple[list[str], list[Key]]:
    """Return the comment lines at the top of a file, and its keys."""
    text = path.read_text(encoding="utf-8")
    lines = [*text.splitlines(), ""]
    head = list(takewhile(_is_comment, lines))
    comments = [_comment_text(line) for line in head if not line.startswith(PACKAGE)]
    root = yaml.compose(text, Loader=_LOADER)
    if not isinstance(root, MappingNode):
        return comments, []
    # The comment at the top describes the file, not its first key.
    lines[: len(head)] = [""] * len(head)
    keys = [key for key in _keys(root, lines) if key.path != "defaults"]
    return comments, keys


def _keys(
    node: MappingNode, lines: Sequence[str], prefix: str = "", outer_comment: str = ""
) -> Iterator[Key]:
    for name, value in node.value:
        path, above = f"{prefix}{name.value}", _above(lines, name.start_mark.line)
        if isinstance(value, MappingNode) and not value.flow_style:
            after = _after(lines, name.end_mark)
            yield from _keys(value, lines, f"{path}.", _joined(outer_comment, above, after))
        else:
            comment = _joined(outer_comment, above, _after(lines, value.end_mark))
            yield Key(path, _written(lines, value), comment)
        outer_comment = ""


def _written(lines: Sequence[str], value: Node) -> str:
    first, last = value.start_mark, value.end_mark
    if first.line == last.line:
        return lines[first.line][first.column : last.column]
    parts = [lines[first.line][first.column :], *lines[first.line + 1 : last.line]]
    return " ".join(part.strip() for part in (*parts, lines[last.line][: last.column]))


def _above(lines: Sequence[str], number: int) -> str:
    comments = list(takewhile(_is_comment, reversed(lines[:number])))
    return _joined(*map(_comment_text, reversed(comments)))


def _after(lines: Sequence[str], end: Mark) -> str:
    _, mark, comment = lines[end.line][end.column :].partition("#")
    return comment.strip() if mark else ""


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _comment_text(line: str) -> str:
    return " ".join(line.lstrip("# ").split())


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)
