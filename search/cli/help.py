"""Help for commands that compose a configuration: groups, keys and examples.

Groups, values and meanings come from `conf/` and the classes that it names; a command adds its
description and examples.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from textwrap import wrap

from search.config import CONF_DIR
from search.config.catalogue import Group, Key, load_class, load_groups, load_settings, meanings

WIDTHS = range(60, 101)  # columns of a terminal; a narrower one breaks words anyway
INDENT = 25
KEY_INDENT = 31

# Keys that are set most often besides those of train.yaml and sweep.yaml, by an option with them.
USED = {
    "data/files": ("train", "text", "label", "max_train_rows"),
    "data/reviews": ("batch_size", "max_length"),
    "model/hub": ("path",),
    "strategy/lora": ("rank",),
    "optimizer/adamw": ("lr",),
    "trainer/default": ("epochs", "patience", "device", "precision"),
    "task/classification": ("metric",),
    "logger/wandb": ("mode",),
}


def composing_help(command: str, about: str) -> str:
    """Return the help of a command that composes a configuration.

    Args:
        command: `sweep`, `plan`, `check` or `train`.
        about: Its description, then examples indented by two spaces.

    """
    name = "train" if command in ("train", "check") else "sweep"
    groups, settings = load_groups(CONF_DIR, name), load_settings(CONF_DIR, name)
    lead, examples = split_examples(about)
    width = min(max(shutil.get_terminal_size().columns, WIDTHS[0]), WIDTHS[-1])
    parts = [
        lead.rstrip("\n"),
        "",
        "Groups, e.g. strategy=full; * marks the default:",
        *_group_lines(groups, width),
        "",
        f"Common keys and their values (all keys: finesweep {command} --cfg job):",
        *_key_lines(groups, settings, width),
        "",
        "Examples:",
        examples.rstrip("\n"),
    ]
    return "\n".join(parts)


def split_examples(about: str) -> tuple[str, str]:
    """Split a help text before its first example; return both parts."""
    match = re.search(r"^  finesweep ", about, flags=re.MULTILINE)
    at = match.start() if match else len(about)
    return about[:at], about[at:]


def _group_lines(groups: Sequence[Group], width: int) -> Iterator[str]:
    for group in groups:
        yield f"  {group.name}: {group.about}"
        for option in group.options:
            mark = "*" if option.name == group.default else " "
            yield from _entry(f"  {mark} {option.name}", option.headline, INDENT, width)


def _key_lines(groups: Sequence[Group], settings: Sequence[Key], width: int) -> Iterator[str]:
    for key in settings:
        yield from _entry(f"  {key.path}={key.value}", key.comment, KEY_INDENT, width)
    for place, names in USED.items():
        group_name, _, chosen = place.partition("/")
        (group,) = (group for group in groups if group.name == group_name)
        for name in names:
            key, words = _key(group, chosen, name)
            yield from _entry(f"  {group_name}.{name}={key.value}", words, KEY_INDENT, width)


def _key(group: Group, chosen: str, name: str) -> tuple[Key, str]:
    """Return an option's key and meaning; name the option if other options lack the key."""
    (option,) = (option for option in group.options if option.name == chosen)
    (key,) = (key for key in option.keys if key.path == name)
    assert option.target is not None, "a key of a run has a schema"
    words = key.comment or _clause(meanings(load_class(option.target))[name])
    is_common = all(any(key.path == name for key in other.keys) for other in group.options)
    return key, words if is_common else f"{words} ({group.name}={chosen})"


def _clause(meaning: str) -> str:
    """Return the first clause of a docstring, in the style of a comment.

    >>> _clause("Peak learning rate, > 0; the schedule scales it.")
    'peak learning rate, > 0'
    """
    clause = re.split(r"[;.](?:\s|$)", meaning, maxsplit=1)[0].replace("`", "")
    return clause[:1].lower() + clause[1:]


def _entry(name: str, text: str, indent: int, width: int) -> list[str]:
    gap = " " * indent
    if len(name) > indent - 2:  # a long name has a line of its own
        return [name, *wrap(text, width, initial_indent=gap, subsequent_indent=gap)]
    return wrap(text, width, initial_indent=name.ljust(indent), subsequent_indent=gap) or [name]
