"""Compose a free study: a loop of the caller's own trains, so names and metric are its own too.

`search.direction` makes a study free. Its tree has `study`, `seed` and `search`, and no group of a
run; each other key of the command line is a name to search, with its range.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_modules.error import ConfigError, Problem, SpaceError, Verbatim, did_you_mean
from search.config.build import GROUPS, Tree
from search.config.check import group_problems, key_problems, paths
from search.config.composition import Arm, Composition
from search.config.override import Override, parse_override
from search.config.pruning import take_min_fraction
from search.config.tree import compose_tree, hydra_ready, texts_of, with_values
from search.config.word import typed_words

DIRECTION = "search.direction"
_GROUPS = ("search/space", "search/sampler", "search/pruner")
_WITHOUT_RUN = (*(f"~{group}" for group in GROUPS), "search/space=none")


def is_free_command(overrides: Sequence[str]) -> bool:
    """Return whether the overrides describe a free study."""
    parsed = [parse_override(text) for text in overrides if text.lstrip("+").startswith(DIRECTION)]
    return any(each.key == DIRECTION and each.parsed.value() is not None for each in parsed)


def is_free(tree: Tree) -> bool:
    """Return whether a sweep's tree is that of a free study."""
    return not any(group in tree for group in GROUPS)


def compose_free(overrides: Sequence[str], config_dir: Path | None = None) -> Composition:
    """Compose a free study under command-line overrides; the last one of a key wins.

    Args:
        overrides: In Hydra's grammar, e.g. `lr=tag(log,interval(1e-5,1e-1))`.
        config_dir: A folder with more group options.

    Raises:
        ConfigError: Lists all unknown keys and names without a range.
        SpaceError: The file of `search/space` names keys of a run.

    """
    parsed = {override.shown: override for override in map(parse_override, overrides)}
    with hydra_ready(config_dir):
        return _composed(list(parsed.values()))


def _composed(overrides: Sequence[Override]) -> Composition:
    groups = [override for override in overrides if override.key in _GROUPS]
    problems = [problem for override in groups for problem in group_problems(override)]
    if problems:
        raise ConfigError(problems)
    chosen = [*_WITHOUT_RUN, *texts_of(groups)]
    base = compose_tree("sweep", chosen)[0]
    known = dict.fromkeys(paths(base))
    values = [each for each in overrides if each.key in known]
    names = [each for each in overrides if each.key not in known and each.key not in _GROUPS]
    fixed = [override for override in values if not override.is_range]
    problems += key_problems(fixed, [base], [{}], set())
    for override in values:
        problems += _fixed_problems(override)
    for override in names:
        problems += _name_problems(override, list(known))
    values = [typed_words(override, base) for override in values]
    problems = problems or [each.problem for each in values if each.problem is not None]
    if problems:
        raise ConfigError(problems)
    config = with_values("sweep", base, chosen, values)
    tree = OmegaConf.to_container(config, resolve=False)
    assert isinstance(tree, dict)
    plain: Tree = {str(key): value for key, value in tree.items() if key != "experiment"}
    plain["study"] = str(plain["study"])  # 2024 in a YAML file
    ranges = {**_ranges(config), **{override.key: override.value for override in names}}
    plain["search"]["space"] = ranges
    take_min_fraction([plain])
    return Composition({}, (Arm({}, plain, tuple(override.text for override in overrides)),))


def _ranges(config: DictConfig) -> dict[str, str]:
    """Return the ranges of the file of `search/space`."""
    try:
        node = OmegaConf.to_container(config.search.space, resolve=True)
    except OmegaConfBaseException as error:
        rule = "must have names of your own: a study of your own loop has no keys of a run"
        reason = Verbatim(str(error).splitlines()[0])
        raise SpaceError(Problem("search/space", rule, reason)) from None
    assert isinstance(node, dict)
    return {str(name): str(text) for name, text in node.items()}


def _fixed_problems(override: Override) -> Iterator[Problem]:
    if not override.is_range:
        return
    rule = "must be one value: a study of your own loop searches your own names only"
    yield Problem(override.shown, rule, Verbatim(override.value))


def _name_problems(override: Override, known: Sequence[str]) -> Iterator[Problem]:
    got = Verbatim(override.value or "nothing")
    if override.problem is not None:
        yield override.problem
    elif override.options:
        rule = "a study of your own loop has no arms"
        yield Problem(override.shown, rule, got, f"Write {override.key}={override.value}.")
    elif override.key.startswith(("search.", "hydra.")):
        fix = did_you_mean(override.key, known)
        yield Problem(override.key, "must be a known key", Verbatim(override.key), fix)
    elif not override.is_range:
        rule = (
            "must be a range: a study of your own loop has no other keys than study, seed, search"
        )
        example = f"{override.key}=choice(...), a range or an interval"
        fix = did_you_mean(override.key, ("study", "seed"))
        fix = fix if fix.startswith("Did") else f"Write {example}, or keep it in your loop."
        yield Problem(override.key, rule, got, fix)
