"""Find mistakes in overrides: unknown options and keys, and ranges that cannot be searched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from omegaconf import DictConfig, ListConfig, OmegaConf

from lightning_modules.error import Problem, SpaceError, Verbatim, did_you_mean
from search.config.build import GROUPS
from search.config.override import Override, options_of
from search.config.range import parse_range

NOT_SEARCHED = ("logger", "study", "run", "search")
# They decide the rows, and a study compares its trials on the same rows.
DECIDE_ROWS = (
    *("data.path", "data.subset", "data.train", "data.validation", "data.test"),
    *("data.text", "data.text_pair", "data.label", "task.text", "task.text_pair", "task.label"),
    *("task.chosen", "task.rejected"),
    *("data.validation_fraction", "data.test_fraction"),
    *("data.split_seed", "data.validation_seed"),
)
# Other groups would change the rows, the metric or the machine between trials.
SEARCHED_GROUPS = ("model", "strategy", "optimizer", "schedule")


def group_options(group: str) -> list[str]:
    """Return the options of a group; none if there is no such group."""
    loader: Any = GlobalHydra.instance().config_loader()
    if group in ("", "hydra") or group.startswith("hydra/"):
        return []
    # The loader's own method copies all that it has read before it asks the same.
    return [str(name) for name in loader.repository.get_group_options(group, ObjectType.CONFIG)]


def group_problems(override: Override) -> Iterator[Problem]:
    """Yield the problems of an override that chooses a group's option or a range of options."""
    group, known_options = override.key, group_options(override.key)
    if override.problem is not None:
        yield override.problem
    elif override.is_range and group not in SEARCHED_GROUPS:
        searched = ", ".join(SEARCHED_GROUPS)
        fix = f"Only {searched} can vary in a study. Run one study per option: "
        fix += f"{group}={known_options[0]} study=NAME-{known_options[0]}."
        yield Problem(group, "must be one option", Verbatim(override.value), fix)
    elif override.is_range and options_of(override) is None:
        fix = f"Write {group}=choice({','.join(known_options[:2])})."
        yield Problem(group, "must list options", Verbatim(override.value), fix)
    elif not override.is_range:
        chosen = override.parsed.value()
        nothing = chosen is None and group == "experiment"
        if override.parsed.is_delete() or (chosen not in known_options and not nothing):
            rule = f"must be one of {', '.join(known_options)}"
            yield Problem(group, rule, chosen, did_you_mean(str(chosen), known_options))


def option_problems(
    base: DictConfig, groups: Mapping[str, Sequence[str]], inline: set[str]
) -> Iterator[Problem]:
    """Yield the problems of the options that groups vary over.

    Args:
        base: The configuration, with its space.
        groups: The options of each group that varies.
        inline: The groups that the command line names; the space names the others.

    """
    seen: dict[str, str] = {}
    for group, options in groups.items():
        known_options = group_options(group)
        where = group if group in inline else f"search.space.{group}"
        if not options:
            text = Verbatim(OmegaConf.select(base, "search.space")[group])
            yield Problem(
                where, "must list options", text, f"Write choice({','.join(known_options[:2])})."
            )
        for option in options:
            if option not in known_options:
                rule = f"options must be among {', '.join(known_options)}"
                yield Problem(where, rule, option, did_you_mean(option, known_options))
            elif option in seen:
                rule = f"options must differ from each other and from {seen[option]}'s"
                yield Problem(where, rule, option)
            seen[option] = group


def key_problems(
    values: Sequence[Override],
    bases: Sequence[DictConfig],
    choices: Sequence[Mapping[str, str]],
    refused_groups: set[str],
) -> Iterator[Problem]:
    """Yield the problems of overrides of keys.

    Args:
        values: The overrides.
        bases: The configuration of each arm.
        choices: The options of each arm, by group that varies.
        refused_groups: Groups whose options were refused, so that their keys are unknown.

    """
    by_arm = [dict.fromkeys(paths(base)) for base in bases]
    known = list({path: None for paths in by_arm for path in paths})
    options = sorted({option for choice in choices for option in choice.values()})
    is_asked = any(each.key == "search.ask_tell" and each.parsed.value() is True for each in values)
    for override in values:
        key = override.key
        if key.split(".")[0] in refused_groups:
            continue  # the keys depend on the option
        foreign = [option for option in override.options if option not in options]
        if foreign:
            fix = (
                did_you_mean(foreign[0], options)
                or "Search a group, e.g. strategy=choice(lora,full)."
            )
            yield Problem(override.shown, "must name searched options", foreign[0], fix)
        elif key not in known and override.is_range and is_asked:
            fix = "For names of your own, add search.direction=maximize, or minimize."
            yield replace(_unknown_key(override, known), fix=fix)
        elif key not in known:
            yield _unknown_key(override, known)
        else:
            arms = zip(bases, choices, by_arm, strict=True)
            own_bases = [
                base for base, choice, paths in arms if key in paths and override.counts_in(choice)
            ]
            yield from _value_problems(override, own_bases)


def _unknown_key(override: Override, known: Sequence[str]) -> Problem:
    """Return the problem of a key that the configuration lacks, naming the options that have it."""
    key, got = override.key, Verbatim(override.key)
    group, owners = _owners(key)
    if not owners:
        return Problem(override.shown, "must be a known key", got, _nearest(key, known))
    named = [f"{group}={option}" for option in owners]
    rule = f"only {named[0]} has this key"
    if len(named) > 1:
        rule = f"only {', '.join(named[:-1])} and {named[-1]} have this key"
    return Problem(override.shown, rule, got, f"Add {min(named, key=len)}.")


def _owners(key: str) -> tuple[str, list[str]]:
    """Return the group that a key belongs to, and the group's options that have the key.

    If some options leave the key null for the user to set, return only those: data=files needs
    `data.train`, data=sst2 sets it.
    """
    words = key.split(".")
    for size in range(len(words) - 1, 0, -1):
        group, name = "/".join(words[:size]), words[size]
        options = {option: _option(group, option) for option in group_options(group)}
        if options:
            with_key = [option for option, config in options.items() if name in config]
            unset = [each for each in with_key if OmegaConf.select(options[each], name) is None]
            return group, unset or with_key
    return "", []


def _option(group: str, option: str) -> DictConfig:
    loader: Any = GlobalHydra.instance().config_loader()
    config = loader.repository.load_config(f"{group}/{option}").config
    assert isinstance(config, DictConfig)
    return config


def _value_problems(override: Override, bases: Sequence[DictConfig]) -> Iterator[Problem]:
    key, got = override.key, Verbatim(override.value or "nothing")
    if not bases:
        yield Problem(override.shown, f"{', '.join(override.options)} must have the key", got)
    elif override.is_range:
        problem = never_searched(key, key, got)
        if problem is not None:
            yield problem
        else:
            yield from _range_problems(override.shown, str(got), bases[0], key)
    elif isinstance(OmegaConf.select(bases[0], key), ListConfig) and isinstance(
        override.parsed.value(), dict
    ):
        yield Problem(key, "must be a list", got, f"Write {key}=[{got}].")
    elif isinstance(OmegaConf.select(bases[0], key), DictConfig) and not isinstance(
        override.parsed.value(), dict
    ):
        fix = f"Choose an option with {key.replace('.', '/')}=NAME, or set a key inside."
        yield Problem(key, "is a group of keys", got, fix)


DECIDE_METRIC = (
    "task.metric",
    "task.metric_direction",
    "task.positive",
    "task.at_recall",
    "task.final_answer",
    "task.low",
    "task.high",
)
"""Paths that decide what a score means, so that trials with different values cannot be compared."""


def never_searched(where: str, path: str, text: str) -> Problem | None:
    """Return the problem of a range over a path that a study cannot search, or None."""
    if path in DECIDE_ROWS:
        rule = "must be one value, because it decides which rows trials are compared on"
        fix = f"Run one study per value: {path}=VALUE study=NAME."
        return Problem(where, rule, Verbatim(text), fix)
    if path in DECIDE_METRIC:
        rule = "must be one value, because it decides what a score means"
        fix = f"Run one study per value: {path}=VALUE study=NAME."
        return Problem(where, rule, Verbatim(text), fix)
    if path.partition(".")[0] in NOT_SEARCHED:
        searchable = ", ".join(name for name in GROUPS if name not in NOT_SEARCHED)
        return Problem(where, f"only {searchable} can be searched", Verbatim(text))
    return None


def _range_problems(shown: str, text: str, base: DictConfig, key: str) -> Iterator[Problem]:
    try:
        parse_range(shown, text, OmegaConf.select(base, key))
    except SpaceError as error:
        yield from error.problems


def _nearest(key: str, known: Sequence[str]) -> str:
    # Listing 60 keys does not help; find near ones by whole path, by last word, or by group.
    guess = did_you_mean(key, known)
    if guess.startswith("Did"):
        return guess
    last = key.rsplit(".", 1)[-1]
    by_word = {path.rsplit(".", 1)[-1]: path for path in known}
    word = did_you_mean(last, by_word)
    if word.startswith("Did"):
        return f"Did you mean {by_word[word.removeprefix('Did you mean ').rstrip('?')]}?"
    inside = [path for path in known if path.startswith(f"{key.split('.', maxsplit=1)[0]}.")]
    if inside:
        return f"Known: {', '.join(inside)}."
    return "See finesweep sweep --cfg job for every key."


def paths(config: DictConfig, prefix: str = "") -> Iterator[str]:
    """Yield the config path of every key and every group of keys."""
    for key in config:
        name, child = str(key), config._get_node(key)
        yield prefix + name
        is_group = isinstance(child, DictConfig) and not child._is_none()
        if is_group and prefix + name != "search.space":
            assert isinstance(child, DictConfig)
            yield from paths(child, f"{prefix}{name}.")
