"""Compose trees from a command line, with Hydra's composition, overrides and sweep grammar.

A range over a group, e.g. `strategy=choice(lora,full)`, makes one arm per option: a complete
configuration with the ranges that exist in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from itertools import product
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_modules.error import ConfigError, Problem, SpaceError, Verbatim
from search.config.build import Tree, strategy_class
from search.config.check import (
    SEARCHED_GROUPS,
    group_options,
    group_problems,
    key_problems,
    never_searched,
    option_problems,
    paths,
)
from search.config.composition import Arm, Composition
from search.config.length import steps_needed, take_epochs, take_range
from search.config.override import Override, options_of, parse_override, range_problem
from search.config.prior import Table, take_prior
from search.config.prior_table import load_table
from search.config.tree import compose_tree, conf_dirs, hydra_ready, texts_of, with_values
from search.space.name import untagged


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
        # As in Hydra, the last override of a key wins.
        is_group = {override.key: bool(group_options(override.key)) for override in parsed}
        chosen = list(
            {override.key: override for override in parsed if is_group[override.key]}.values()
        )
        values = {(w.key, w.options): w for w in parsed if not is_group[w.key]}.values()
        problems = [problem for override in chosen for problem in group_problems(override)]
        refused = {problem.where for problem in problems}
        chosen = [override for override in chosen if override.key not in refused]
        fixed = [override for override in chosen if not override.is_range]
        base, all_options = compose_tree(name, texts_of(fixed))
        options = {group: all_options[group] for group in SEARCHED_GROUPS if group in all_options}
        groups = _searched_groups(base, chosen)
        impossible = list(option_problems(base, groups, {override.key for override in chosen}))
        problems += impossible
        if impossible:
            groups = {}
        if name != "sweep" and groups:
            group = next(iter(groups))
            raise SpaceError(range_problem(group, f"choice({','.join(groups[group])})"))
        written_for_arms = _is_written_for_arms(base)
        default = options if groups or written_for_arms else {}
        choices = _choices(default, groups)
        bases = [
            base
            if choice.items() <= options.items()
            else compose_tree(name, [*texts_of(fixed), *_choice_words(choice)])[0]
            for choice in choices
        ]
        problems += key_problems(list(values), bases, choices, refused)
        if problems:
            raise ConfigError(problems)
        if name != "sweep":
            for override in values:
                if override.is_range:
                    raise SpaceError(range_problem(override.key, override.value))
        table = load_table(conf_dirs(config_dir))
        arms, removed_texts, useless = [], dict[str, None](), dict[str, Problem]()
        for choice, arm_base in zip(choices, bases, strict=True):
            options = {**default, **choice} if written_for_arms else choice
            arm, removed, ignored = _arm(
                name, arm_base, choice, options, fixed, list(values), table
            )
            arms.append(arm)
            removed_texts.update(dict.fromkeys(removed))
            useless |= ignored
    problems = [
        problem for key, problem in useless.items() if not any(key in arm.space for arm in arms)
    ]
    if problems:
        raise SpaceError(problems)
    return Composition(groups, tuple(arms), tuple(removed_texts), all_options)


def _arm(
    name: str,
    base: DictConfig,
    choice: Mapping[str, str],
    options: Mapping[str, str],
    fixed_groups: Sequence[Override],
    values: Sequence[Override],
    table: Table,
) -> tuple[Arm, list[str], dict[str, Problem]]:
    """Compose one arm.

    Returns: The arm; the fixed overrides that removed their paths from its default space; and a
        problem, by path, for each range of the command line that its strategy has no use for.
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
    groups = [*texts_of(fixed_groups), *_choice_words(choice)]
    config = with_values(name, base, groups, fixed)
    prior, open_length = take_prior(config, table), take_epochs(config)
    tree = OmegaConf.to_container(config, resolve=False)
    assert isinstance(tree, dict)
    plain: Tree = {str(key): value for key, value in tree.items()}
    for key in ("study", "run"):  # Hydra reads a name like 2024 as a number
        if isinstance(plain.get(key), int):
            plain[key] = str(plain[key])
    removed_texts: list[str] = []
    useless: dict[str, Problem] = {}
    rest: dict[str, str] = {}
    if name == "sweep":
        default = _default_space(config, options)
        removed = {
            override.key: f"{override.shown}={override.value}"
            for override in fixed
            if override.key in default
        }
        removed_texts = [removed[path] for path in default if path in removed]
        rest = {path: text for path, text in default.items() if path not in removed}
        space = {**rest, **inline}
        useless = _useless(config, space)
        used, open_range = take_range({p: text for p, text in space.items() if p not in useless})
        plain["search"]["space"] = used
        open_length += open_range
        useless = {path: useless[path] for path in useless.keys() & inline.keys()}
    kept = [text for text in (*groups, *texts_of(fixed)) if _is_of_a_run(text)]
    if prior is not None:
        prior = prior.without(_unread(plain, rest.keys() - inline.keys()))
    steps = steps_needed(config, table)
    return Arm(choice, plain, tuple(kept), prior, steps, open_length), removed_texts, useless


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
    order = dict.fromkeys(untagged(key)[0] for key in keys)
    return {path: ranges[path] for path in order if path in ranges}


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


def _choice_words(choice: Mapping[str, str]) -> list[str]:
    return [f"{group}={option}" for group, option in choice.items()]


def _is_of_a_run(text: str) -> bool:
    key = text.partition("=")[0].lstrip("+~")
    ours = key == "study" or key.startswith(("search/", "search."))
    return not ours or key == "search.plugins"
