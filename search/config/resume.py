"""Compose the configuration of a stored study again: what the command does not name stays.

The defaults of `conf/` may have changed since the study began, e.g. with a newer version. A study
keeps the rules it began with, so a setting, a range or an option of a group that the command does
not name has the stored value. What the command names has the value of the command, even if it
differs; whether it may differ is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightning_modules.error import UserError
from lightning_modules.task.select import settled
from lightning_modules.trainer import Select
from search.config.build import Tree, build_run, leaves, resolved
from search.config.check import group_options
from search.config.compose import compose
from search.config.composition import Arm, Composition
from search.config.free import compose_free, is_free
from search.config.length import EPOCHS, MAX_LENGTH, RANGE, TOKENS, VALUE
from search.config.override import Override, literal, parse_override
from search.config.prior import AUTO
from search.config.revision import REVISION, is_unnamed
from search.config.tree import hydra_ready

SELECT = "trainer.select"


@dataclass(frozen=True)
class _Named:
    """What a command names.

    Attributes:
        values: Its overrides of keys.
        groups: Config paths of the groups for which it chooses another option than the stored one.

    """

    values: Sequence[Override]
    groups: frozenset[str]

    def covers(self, path: str, choice: Mapping[str, str]) -> bool:
        """Return whether the command sets the path in the arm with these options."""
        keys = {override.key for override in self.values if override.counts_in(choice)}
        return any(path == key or path.startswith(f"{key}.") for key in keys | self.groups)

    def reaches(self, path: str, choice: Mapping[str, str]) -> bool:
        """Return whether the command sets the path or a key below it."""
        keys = {override.key for override in self.values if override.counts_in(choice)}
        below = any(key.startswith(f"{path}.") for key in keys | self.groups)
        return below or self.covers(path, choice)


def compose_again(
    overrides: Sequence[str], before: Composition, config_dir: Path | None = None
) -> Composition:
    """Compose a sweep under overrides as the continuation of a stored study.

    Args:
        overrides: The overrides of the command.
        before: The stored configuration.
        config_dir: A folder with more group options.

    Raises:
        ConfigError, SpaceError: Like `compose`.

    """
    if is_free(before.tree):
        return _free_again(overrides, before, config_dir)
    try:
        fresh = compose("sweep", overrides, config_dir)
    except UserError:
        # Its keys may belong to options that are no longer the default.
        fresh = None
    parsed = [parse_override(text) for text in overrides]
    with hydra_ready(config_dir):
        options = _options(before)
        known = {group: group_options(group) for group in options}
        groups = {override.key: override for override in parsed if group_options(override.key)}
    words = _stored_words(before, {g: o for g, o in options.items() if o in known[g]}, groups)
    if fresh is not None:
        words = {group: word for group, word in words.items() if not _has_word(fresh, group, word)}
    now = fresh
    if now is None or words:
        now = compose("sweep", [*words.values(), *overrides], config_dir)
    named = _Named(
        [override for override in parsed if override.key not in groups],
        frozenset(_changed(groups, options, now, overrides, config_dir)),
    )
    merged = _merged(before, now, named)
    earlier = _earlier(_words_of(before), overrides)
    begun = _begun(earlier, overrides, config_dir) or fresh or now
    words = {group: word for group, word in words.items() if not _has_word(begun, group, word)}
    kept = tuple(_kept(merged, begun, words, named))
    changed = tuple(_changed_lines(before, merged))
    new = _earlier(overrides, [])
    return replace(merged, words=(*earlier, *new), earlier=earlier, kept=kept, changed=changed)


def _words_of(before: Composition) -> Sequence[str]:
    """Return the overrides of a stored study's commands.

    Those of earlier versions stored only the ones that one run needs.
    """
    if before.words:
        return before.words
    own = [w for w in before.arms[0].words if w.partition("=")[0] not in before.groups]
    return [*own, *(f"{group}=choice({','.join(of)})" for group, of in before.groups.items())]


def _earlier(words: Sequence[str], overrides: Sequence[str]) -> tuple[str, ...]:
    """Return the words whose keys the overrides do not name; the last one of each key."""
    again = {parse_override(text).shown for text in overrides} | {"study"}
    by_key = {parse_override(text).shown: text for text in words}
    return tuple(text for key, text in by_key.items() if key not in again)


def _begun(
    earlier: Sequence[str], overrides: Sequence[str], config_dir: Path | None
) -> Composition | None:
    """Return what a new study would have with all words; None if there is none."""
    try:
        return compose("sweep", [*earlier, *overrides], config_dir) if earlier else None
    except UserError:  # e.g. a key that another option of a group has, or a later version lacks
        return None


def _free_again(
    overrides: Sequence[str], before: Composition, config_dir: Path | None
) -> Composition:
    """Compose a free study again; its words are stored, because no default gives its names."""
    now = compose_free([*before.arms[0].words, *overrides], config_dir)
    parsed = [parse_override(text) for text in overrides]
    groups = frozenset(each.key.replace("/", ".") for each in parsed if "/" in each.key)
    named = _Named(parsed, groups)
    merged = _merged(before, now, named)
    return replace(
        merged,
        earlier=_earlier(before.arms[0].words, overrides),
        kept=tuple(_kept(merged, now, {}, named)),
        changed=tuple(_changed_lines(before, merged)),
    )


def _options(before: Composition) -> dict[str, str]:
    """Return the stored option of each group, as far as it is known.

    Studies of earlier versions stored the overrides of the command that chose a run's options, and
    the class of every option; the file of a class has the option's name.
    """
    arm = before.arms[0]
    options: dict[str, str] = {}
    for group, node in [*arm.tree.items(), *_search_nodes(arm.tree)]:
        target = node.get("_target_") if isinstance(node, Mapping) else None
        if target is not None:
            options[group] = str(target).split(".")[-2]
    for word in arm.words:
        group, _, option = word.partition("=")
        if group.isidentifier():
            options[group] = option
    known = {**options, **before.options}
    return {group: option for group, option in known.items() if group not in before.groups}


def _search_nodes(tree: Tree) -> Iterator[tuple[str, Any]]:
    for name, node in tree.get("search", {}).items():
        yield f"search/{name}", node


def _stored_words(
    before: Composition, options: Mapping[str, str], named: Mapping[str, Override]
) -> dict[str, str]:
    """Return overrides that choose the stored options of the groups that no override names."""
    words = {group: f"{group}={option}" for group, option in options.items()}
    words |= {group: f"{group}=choice({','.join(of)})" for group, of in before.groups.items()}
    return {group: word for group, word in words.items() if group not in named}


def _has_word(fresh: Composition, group: str, word: str) -> bool:
    """Return whether a configuration has the options that an override would choose."""
    if group in fresh.groups:
        return word == f"{group}=choice({','.join(fresh.groups[group])})"
    return word == f"{group}={fresh.options.get(group)}"


def _changed(
    named: Mapping[str, Override],
    options: Mapping[str, str],
    now: Composition,
    overrides: Sequence[str],
    config_dir: Path | None,
) -> Iterator[str]:
    """Yield the config paths for which a named group brings other values than the stored option."""
    for group, override in named.items():
        if override.is_range or str(override.parsed.value()) == options.get(group):
            continue
        if group != "experiment":
            yield group.replace("/", ".")
            continue
        # An experiment changes keys anywhere.
        others = [text for text in overrides if parse_override(text).key != "experiment"]
        plain = leaves(compose("sweep", others, config_dir).tree)
        with_it = leaves(now.tree)
        for path in plain.keys() | with_it.keys():
            if plain.get(path) != with_it.get(path):
                yield path


def _merged(before: Composition, now: Composition, named: _Named) -> Composition:
    """Return the composition of today with the stored values of all that is not named."""
    stored = {tuple(arm.choice.items()): arm for arm in before.arms}
    arms = {tuple(arm.choice.items()): arm for arm in now.arms}
    if stored.keys() == arms.keys():
        arms = {key: arms[key] for key in stored}  # the default arm stays the first
    merged = [
        _merged_arm(stored[key], arm, named) if key in stored else arm for key, arm in arms.items()
    ]
    return replace(now, arms=tuple(merged))


def _merged_arm(before: Arm, now: Arm, named: _Named) -> Arm:
    tree = _merged_node(before.tree, now.tree, named, now.choice, "")
    search = {**tree["search"], "space": _merged_space(before, now, named)}
    words = {word.partition("=")[0]: word for word in (*before.words, *now.words)}
    # What was taken from the table of priors, and the length that the rows decided, stay too.
    return replace(before, tree={**tree, "search": search}, words=tuple(words.values()))


def _merged_node(before: Any, now: Any, named: _Named, choice: Mapping[str, str], path: str) -> Any:
    if named.covers(path, choice):
        return now
    if not isinstance(before, Mapping) or not isinstance(now, Mapping):
        return before
    prefix = f"{path}." if path else ""
    # A new key of the same schema has today's value, unless search/config/legacy.py has another.
    is_schema = path in ("", "search") or "_target_" in now
    is_schema = is_schema and before.get("_target_") == now.get("_target_")
    node: dict[str, Any] = {}
    for key in dict.fromkeys([*before, *now]):
        where = f"{prefix}{key}"
        if key in before and key in now:
            node[key] = _merged_node(before[key], now[key], named, choice, where)
        elif key in before and not named.covers(where, choice):
            node[key] = before[key]
        elif key in now and (is_schema or named.reaches(where, choice)):
            node[key] = now[key]
    return node


def _merged_space(before: Arm, now: Arm, named: _Named) -> dict[str, str]:
    if named.covers("search.space", now.choice):
        return dict(now.space)
    space: dict[str, str] = {}
    for path in dict.fromkeys([*before.space, *now.space]):
        source = now.space if named.covers(path, now.choice) else before.space
        if path in source:
            space[path] = source[path]
    return space


def _kept(
    merged: Composition, fresh: Composition, words: Mapping[str, str], named: _Named
) -> Iterator[str]:
    """Yield each setting that a new study with the same words would not have, with its value."""
    for group, word in words.items():
        new = ",".join(fresh.groups.get(group, (fresh.options.get(group, "none"),)))
        yield f"{word} (a new study: {new})"
    arms = {tuple(arm.choice.items()): arm for arm in fresh.arms}
    seen = set()
    for arm in merged.arms:
        other = arms.get(tuple(arm.choice.items()))
        for path, value, new in _differences(arm, other) if other is not None else ():
            in_group = any(path.startswith(f"{group.replace('/', '.')}.") for group in words)
            line = f"{path}{value} (a new study: {new})"
            if not in_group and not named.covers(path, arm.choice) and line not in seen:
                seen.add(line)
                yield line


def _changed_lines(before: Composition, now: Composition) -> Iterator[str]:
    arms = {tuple(arm.choice.items()): arm for arm in before.arms}
    lines: dict[str, None] = {}
    for arm in now.arms:
        was = arms.get(tuple(arm.choice.items()))
        for path, text in was.space.items() if was is not None else ():
            new = arm.space.get(path, text)
            if new.replace(" ", "") != text.replace(" ", ""):
                lines[f"{path}={new}, was {text}"] = None
    was_warm, is_warm = (each.tree["search"].get("warm_start") for each in (before, now))
    if was_warm is not None and is_warm is None:
        lines[f"search.warm_start=null: the trials of study {was_warm} no longer count here"] = None
    yield from lines


def _differences(arm: Arm, fresh: Arm) -> Iterator[tuple[str, str, str]]:
    """Yield path, value and value of a new study, for each setting and range that differs."""
    flat, new = _flat(arm), _flat(fresh)
    spaces: tuple[dict[str, Any], dict[str, Any]] = dict(arm.space), dict(fresh.space)
    lengths = (
        (VALUE, EPOCHS, (flat, new)),
        (RANGE, EPOCHS, spaces),
        (TOKENS, MAX_LENGTH, (flat, new)),
    )
    for what, path, values in lengths:
        if what in fresh.open:  # the rows will decide, and would decide the same again
            is_alike = what in arm.decided or what in arm.open  # a loop of the user's has the rows
            values[1][path] = values[0].get(path) if is_alike else AUTO
    if any(flat.get(f"search.{key}") is not None for key in ("metric", "objectives")):
        flat.pop("task.metric", None)  # follows from them
    if new.get(SELECT) == Select.auto.value and flat.get(SELECT) == _automatic(arm):
        new[SELECT] = flat[SELECT]  # a study stores what `auto` stood for when it began
    if is_unnamed(new) and REVISION in new:
        new[REVISION] = flat.get(REVISION)
    for path in flat:
        if path.rpartition(".")[2] != "_target_" and flat[path] != new.get(path, flat[path]):
            yield path, f"={literal(flat[path])}", literal(new[path])
    for path in dict.fromkeys([*arm.space, *fresh.space]):
        text, other = (space.get(path) for space in spaces)
        if text != other:
            yield path, f"={text}" if text else " not searched", other or "not searched"


def _automatic(arm: Arm) -> str:
    return settled(Select.auto, build_run(arm.tree).task).value


def _flat(arm: Arm) -> dict[str, Any]:
    search = {key: value for key, value in arm.tree["search"].items() if key != "space"}
    return leaves(resolved({**arm.tree, "search": search}))
