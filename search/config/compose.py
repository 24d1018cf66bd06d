"""Compose trees from a command line, with Hydra's composition, overrides and sweep grammar.

A range over a group, e.g. `strategy=choice(lora,full)`, makes one arm per option: a complete
configuration with the ranges that exist in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from lightning_modules.error import ConfigError, SpaceError, UserError
from search.config.arm import ComposedArm, choice_words, compose_arm
from search.config.check import (
    SEARCHED_GROUPS,
    group_options,
    group_problems,
    key_problems,
    option_problems,
)
from search.config.composition import Composition
from search.config.override import Override, options_of, parse_override, range_problem
from search.config.plugin import packages_of
from search.config.prior_table import load_table
from search.config.pruning import take_min_fraction
from search.config.tree import compose_tree, conf_dirs, hydra_ready, texts_of
from search.config.word import hint_of, number_problems, typed_words
from search.space.name import untagged

_NAMES = ("study", "run")


def compose(name: str, overrides: Sequence[str], config_dir: Path | None = None) -> Composition:
    """Compose `conf/NAME.yaml` under command-line overrides, sweeps included.

    Args:
        name: `train` or `sweep`.
        overrides: In Hydra's grammar, e.g. `strategy=full` or `optimizer.lr=interval(1e-5,1e-3)`.
        config_dir: A folder with more group options.

    Raises:
        ConfigError: Lists all unknown keys and groups, with the nearest known ones.
        SpaceError: A range over something that cannot be searched.

    """
    parsed = [parse_override(text) for text in overrides]
    with hydra_ready(config_dir):
        chosen, values = _last_of_each(parsed)
        problems = [problem for override in chosen for problem in group_problems(override)]
        refused = {problem.where for problem in problems}
        chosen = [override for override in chosen if override.key not in refused]
        fixed = [override for override in chosen if not override.is_range]
        base, all_options = compose_tree(name, texts_of(fixed))
        groups = _searched_groups(base, chosen)
        if impossible := list(option_problems(base, groups, {each.key for each in chosen})):
            problems, groups = problems + impossible, {}
        if name != "sweep":
            _refuse_ranges((key, f"choice({','.join(groups[key])})") for key in groups)
        options = {group: all_options[group] for group in SEARCHED_GROUPS if group in all_options}
        written_for_arms = _is_written_for_arms(base)
        default = options if groups or written_for_arms else {}
        choices = _choices(default, groups)
        bases = [
            base
            if choice.items() <= options.items()
            else compose_tree(name, [*texts_of(fixed), *choice_words(choice)])[0]
            for choice in choices
        ]
        problems += key_problems(values, bases, choices, refused)
        values = [_as_typed(override, bases) for override in values]
        problems = problems or [each.problem for each in values if each.problem is not None]
        if problems:
            raise ConfigError(problems)
        if name != "sweep":
            _refuse_ranges((each.key, each.value) for each in values if each.is_range)
        table = load_table(conf_dirs(config_dir))
        composed = [
            compose_arm(
                name,
                arm_base,
                choice,
                {**default, **choice} if written_for_arms else choice,
                fixed,
                values,
                table,
            )
            for choice, arm_base in zip(choices, bases, strict=True)
        ]
    _check_arms(composed)
    arms = tuple(each.arm for each in composed)
    take_min_fraction([arm.tree for arm in arms])
    removed = dict.fromkeys(text for each in composed for text in each.removed)
    words = tuple(text for text, o in zip(overrides, parsed, strict=True) if o.key not in _NAMES)
    return Composition(groups, arms, tuple(removed), all_options, words)


def own_plugins(overrides: Sequence[str], config_dir: Path) -> tuple[str, ...]:
    """Return the packages that the chosen options of a user's own folder name."""
    with suppress(UserError), hydra_ready(config_dir):  # reported when all is composed
        chosen = [each for each in map(parse_override, overrides) if group_options(each.key)]
        fixed = [each for each in chosen if not each.is_range and not any(group_problems(each))]
        return packages_of(compose_tree("sweep", texts_of(fixed))[0])
    return ()


def _last_of_each(overrides: Sequence[Override]) -> tuple[list[Override], list[Override]]:
    """Return the overrides of groups and those of keys; as in Hydra, the last one of each wins."""
    is_group = {override.key: bool(group_options(override.key)) for override in overrides}
    groups = {each.key: each for each in overrides if is_group[each.key]}
    keys = {(each.key, each.options): each for each in overrides if not is_group[each.key]}
    return list(groups.values()), list(keys.values())


def _refuse_ranges(found: Iterable[tuple[str, str]]) -> None:
    """Raise SpaceError for the first range, by key, of a command that searches nothing."""
    for key, text in found:
        raise SpaceError(range_problem(key, text))


def _check_arms(composed: Sequence[ComposedArm]) -> None:
    """Refuse ranges that no arm has a use for, and numbers that are texts."""
    useless = {path: problem for each in composed for path, problem in each.useless.items()}
    used = {path for each in composed for path in each.arm.space}
    if problems := [problem for path, problem in useless.items() if path not in used]:
        raise SpaceError(problems)
    untyped = {str(each): each for one in composed for each in number_problems(one.arm.tree)}
    if untyped:
        raise ConfigError(untyped.values())


def _as_typed(override: Override, bases: Sequence[DictConfig]) -> Override:
    """Return the override as the first configuration that has its key reads it."""
    has_key = [base for base in bases if hint_of(base, override.key) is not None]
    return typed_words(override, has_key[0]) if has_key else override


def _is_written_for_arms(base: DictConfig) -> bool:
    space = OmegaConf.select(base, "search.space") or {}
    return any(str(key) in SEARCHED_GROUPS or untagged(str(key))[1] for key in space)


def _searched_groups(base: DictConfig, chosen: Sequence[Override]) -> dict[str, tuple[str, ...]]:
    """Return the groups that vary, by the YAML's space and by the command line, which wins."""
    space = OmegaConf.select(base, "search.space") or {}
    groups: dict[str, tuple[str, ...]] = {}
    for group in SEARCHED_GROUPS:
        if group in space:
            groups[group] = options_of(parse_override(f"{group}={space[group]}")) or ()
    for override in chosen:
        if override.is_range:
            groups[override.key] = options_of(override) or ()
        else:
            groups.pop(override.key, None)
    return groups


def _choices(
    default: Mapping[str, str], groups: Mapping[str, Sequence[str]]
) -> list[dict[str, str]]:
    """Return every combination of options, the one of the unmodified configuration first."""
    combinations = [
        dict(zip(groups, options, strict=True)) for options in product(*groups.values())
    ]
    return sorted(  # stable: the others stay as they were written
        combinations, key=lambda choice: any(choice[group] != default[group] for group in groups)
    )
