"""Compose one arm: its options with their default space, priors and length, and the overrides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_modules.error import ConfigError, Problem, SpaceError, Verbatim
from search.config.build import Tree, strategy_class
from search.config.check import SEARCHED_GROUPS, never_searched, paths
from search.config.composition import Arm
from search.config.length import (
    steps_needed,
    take_epochs,
    take_max_length,
    take_range,
    usual_epochs,
)
from search.config.override import Override
from search.config.prior import Table, take_prior
from search.config.tree import texts_of, with_values
from search.config.word import typed_range
from search.space.name import untagged


class ComposedArm(NamedTuple):
    """An arm, and what came of the overrides.

    Attributes:
        arm: The arm.
        removed: The fixed overrides that removed their paths from its default space.
        useless: A problem, by path, for each range of the command line that its strategy has no
            use for.

    """

    arm: Arm
    removed: list[str]
    useless: dict[str, Problem]


def compose_arm(
    name: str,
    base: DictConfig,
    choice: Mapping[str, str],
    options: Mapping[str, str],
    fixed_groups: Sequence[Override],
    values: Sequence[Override],
    table: Table,
) -> ComposedArm:
    """Compose one arm.

    Args:
        name: `train` or `sweep`.
        base: The configuration of its options.
        choice: Group to option, for the groups that vary.
        options: Group to option; empty if neither the file of the space nor the command line
            defines arms: then every path of the file must exist.
        fixed_groups: Overrides of groups that do not vary.
        values: Overrides of keys.
        table: The priors.

    """
    known = set(paths(base))
    here = [override for override in values if override.key in known and override.counts_in(choice)]
    # An override for this arm takes precedence over one for all arms.
    by_key = {
        override.key: override
        for override in sorted(here, key=lambda override: len(override.options))
    }
    fixed = [override for override in by_key.values() if not override.is_range]
    inline = {override.key: override.value for override in by_key.values() if override.is_range}
    groups = [*texts_of(fixed_groups), *choice_words(choice)]
    config = with_values(name, base, groups, fixed)
    epochs = usual_epochs(config, table)
    prior = take_prior(config, table)
    open_length = take_epochs(config, epochs) + take_max_length(config)
    tree = OmegaConf.to_container(config, resolve=False)
    assert isinstance(tree, dict)
    plain: Tree = {str(key): value for key, value in tree.items()}
    removed: list[str] = []
    useless: dict[str, Problem] = {}
    rest: dict[str, str] = {}
    if name == "sweep":
        rest, removed = _without_fixed(_default_space(config, options), fixed)
        space = {**rest, **inline}
        useless = _useless(config, space)
        used, open_range = take_range(
            {path: text for path, text in space.items() if path not in useless}, epochs
        )
        plain["search"]["space"] = used
        open_length += open_range
        useless = {path: useless[path] for path in useless.keys() & inline.keys()}
    kept = [text for text in (*groups, *texts_of(fixed)) if _is_of_a_run(text)]
    if prior is not None:
        prior = prior.without(_unread(plain, rest.keys() - inline.keys()))
    steps = steps_needed(config, table)
    arm = Arm(choice, plain, tuple(kept), prior, steps, open_length, epochs=epochs)
    return ComposedArm(arm, removed, useless)


def _without_fixed(
    space: Mapping[str, str], fixed: Sequence[Override]
) -> tuple[dict[str, str], list[str]]:
    """Return the ranges that no override has fixed, and the overrides that have fixed others."""
    words = {each.key: f"{each.shown}={each.value}" for each in fixed if each.key in space}
    rest = {path: text for path, text in space.items() if path not in words}
    return rest, [words[path] for path in space if path in words]


def choice_words(choice: Mapping[str, str]) -> list[str]:
    """Return the overrides that choose these options of groups."""
    return [f"{group}={option}" for group, option in choice.items()]


def _is_of_a_run(text: str) -> bool:
    key = text.partition("=")[0].lstrip("+~")
    ours = key == "study" or key.startswith(("search/", "search."))
    return not ours or key == "search.plugins"


def _unread(tree: Tree, default_space: Set[str]) -> set[str]:
    """Return the strategy's learning rates that nothing reads, as the user set others."""
    unread = set() if tree["optimizer"].get("lr") == "${strategy.lr}" else {"lr"}
    return unread if "optimizer.lr" in default_space else {*unread, "lr_min", "lr_max"}


def _useless(config: DictConfig, ranges: Mapping[str, str]) -> dict[str, Problem]:
    """Return a problem for each range that the arm's strategy has no use for."""
    try:
        strategy = strategy_class(config)
    except ConfigError:
        return {}  # reported when the run is built
    rule, fix = f"{strategy.__name__} has no use for it", "Nothing is left to search."
    return {
        path: Problem(path, rule, Verbatim(text), fix)
        for path, text in ranges.items()
        if not strategy.has_use_for(path)
    }


def _default_space(config: DictConfig, options: Mapping[str, str]) -> dict[str, str]:
    """Return the YAML's ranges that exist in the arm; its own take precedence over those for all.

    Args:
        config: The arm's.
        options: Group to option; empty if neither the file nor the command line defines arms: then
            every path must exist.

    """
    node = OmegaConf.select(config, "search.space")
    keys = [str(key) for key in node] if node is not None else []
    known = set(paths(config))
    ranges: dict[str, str] = {}
    for key in sorted(keys, key=lambda key: len(untagged(key)[1])):
        path, arm_options = untagged(key)
        foreign = options and path not in known
        if path in SEARCHED_GROUPS or foreign or not set(arm_options) <= set(options.values()):
            continue
        where = f"search.space.{key}"
        try:
            ranges[path] = str(node[key])
        except OmegaConfBaseException as error:
            reason = Verbatim(str(error).splitlines()[0])
            raise SpaceError(Problem(where, "must resolve", reason)) from None
        problem = never_searched(where, path, ranges[path])
        if problem is not None:
            raise SpaceError(problem)
        ranges[path] = typed_range(path, ranges[path], config)
    order = dict.fromkeys(untagged(key)[0] for key in keys)
    return {path: ranges[path] for path in order if path in ranges}
