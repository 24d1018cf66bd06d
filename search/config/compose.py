"""From a command line to one tree: Hydra's composition, its overrides, its sweep grammar."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_modules.error import ConfigError, Problem, SpaceError, Verbatim, did_you_mean
from search.config.build import ROOMS, Tree
from search.config.range import parse_range


def _conf_dir() -> Path:
    # A wheel carries conf/ inside this package, a checkout beside it.
    packaged = Path(__file__).parents[1] / "_conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "conf"


CONF_DIR = _conf_dir().resolve()

NOT_SEARCHED = ("logger", "seed", "study", "run", "search")


@dataclass(frozen=True)
class Composition:
    """A composed configuration.

    Attributes:
        tree: All values, interpolations unresolved; its `search.space` is the whole space.
        space: Config path to range, as text in Hydra's sweep grammar.
        fixed: Config paths that the command line took out of the default space.

    """

    tree: Tree
    space: Mapping[str, str] = field(default_factory=dict)
    fixed: tuple[str, ...] = ()


def compose(name: str, overrides: Sequence[str], config_dir: Path | None = None) -> Composition:
    """Compose `conf/NAME.yaml` under command-line overrides, sweeps included.

    Args:
        name: `train` or `sweep`.
        overrides: In Hydra's grammar, as `strategy=full` or `optimizer.lr=interval(1e-5,1e-3)`.
        config_dir: A folder of further group members.

    Raises:
        ConfigError: Unknown keys or groups, with the nearest known ones; all at once.
        SpaceError: A range over something that cannot be searched.

    """
    parsed = [_parse(text) for text in overrides]
    with hydra_ready(config_dir):
        groups = [override for override in parsed if _options(override.key_or_group)]
        # As with Hydra, the last word on a key holds.
        values = list({o.key_or_group: o for o in parsed if o not in groups}.values())
        problems, refused = list(_group_problems(groups)), set[str]()
        refused.update(problem.where for problem in problems)
        accepted = [
            _text(override)
            for override in groups
            if override.key_or_group not in refused and override.value() is not None
        ]
        base = _compose(name, accepted)
        problems.extend(_key_problems(values, base, refused))
        if problems:
            raise ConfigError(problems)
        sweeps = {o.key_or_group: o for o in values if o.is_sweep_override()}
        fixed = [override for override in values if not override.is_sweep_override()]
        config = _compose(name, [*accepted, *(_text(override) for override in fixed)])
    inline = {path: _range_text(override) for path, override in sweeps.items()}
    space, taken_out = _space(config, inline, {override.key_or_group for override in fixed})
    tree = OmegaConf.to_container(config, resolve=False)
    assert isinstance(tree, dict)
    plain = {str(key): value for key, value in tree.items()}
    for key in ("study", "run"):  # Hydra reads a name such as 2024 as a number
        if isinstance(plain.get(key), int):
            plain[key] = str(plain[key])
    if name == "sweep":
        plain["search"]["space"] = dict(space)
    elif inline:
        path, text = next(iter(inline.items()))
        rule = "one run has one value a key"
        raise SpaceError(Problem(path, rule, Verbatim(text), "Use finesweep sweep for ranges."))
    return Composition(plain, space, tuple(taken_out))


@contextmanager
def hydra_ready(config_dir: Path | None) -> Iterator[None]:
    """Make Hydra ready to compose from `conf/`, and from `config_dir` too."""
    if config_dir is not None and not config_dir.is_dir():
        raise ConfigError(Problem("--config-dir", "must be a folder", str(config_dir)))
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3", job_name="finesweep"):
        if config_dir is not None:
            loader: Any = GlobalHydra.instance().config_loader()
            path = f"file://{config_dir.resolve()}"
            # Hydra wants its schema source to stay the last one.
            loader.get_search_path().prepend("command-line", path, "schema")
            loader.repository.initialize_sources(loader.get_search_path())
        yield


def _compose(name: str, overrides: Sequence[str]) -> DictConfig:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return hydra_compose(name, overrides=list(overrides))
        except (HydraException, OmegaConfBaseException) as error:
            reason = Verbatim(str(error).splitlines()[0])
            raise ConfigError(Problem("config", "must compose", reason)) from None


def _parse(text: str) -> Override:
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException as error:
        first = str(error).splitlines()[0]
        key = text.split("=", maxsplit=1)[0] if "=" in text else text
        if "=" not in text:
            rule, fix = "must read key=value", f"Write {text}=VALUE, or see --help."
        else:
            rule = "must follow Hydra's override grammar"
            fix = f"{first}. In a shell, quote brackets and parentheses; Hydra wants other "
            fix += f"letters than English ones quoted too: '{key}=\"...\"'."
        raise ConfigError(Problem(key, rule, text, fix)) from None


def _options(group: str) -> list[str]:
    loader = GlobalHydra.instance().config_loader()
    if group in ("", "hydra") or group.startswith("hydra/"):
        return []
    return [str(name) for name in loader.get_group_options(group, ObjectType.CONFIG)]


def _text(override: Override) -> str:
    assert override.input_line is not None
    return override.input_line


def _range_text(override: Override) -> str:
    return _text(override).partition("=")[2]


def _group_problems(groups: Sequence[Override]) -> Iterator[Problem]:
    for override in groups:
        group, options = override.key_or_group, _options(override.key_or_group)
        if override.is_sweep_override():
            fix = f"Run one study a member, as {group}={options[0]} study=NAME-{options[0]}."
            got = Verbatim(_range_text(override))
            yield Problem(group, "must be one member", got, fix)
            continue
        chosen = override.value()
        nothing = chosen is None and group == "experiment"
        if override.is_delete() or (chosen not in options and not nothing):
            rule = f"must be one of {', '.join(options)}"
            yield Problem(group, rule, chosen, did_you_mean(str(chosen), options))


def _key_problems(
    values: Sequence[Override], base: DictConfig, refused_groups: set[str]
) -> Iterator[Problem]:
    known = list(_paths(base))
    for override in values:
        key, got = override.key_or_group, Verbatim(_range_text(override) or "nothing")
        if key.split(".")[0] in refused_groups:
            continue  # which keys there are depends on the member
        if key not in known:
            yield Problem(key, "must be a known key", got, _nearest(key, known))
        elif override.is_sweep_override():
            if key.split(".")[0] in NOT_SEARCHED or key == "task.metric":
                rooms = ", ".join(name for name in ROOMS if name not in NOT_SEARCHED)
                yield Problem(key, f"only {rooms} can be searched", got)
            else:
                yield from _range_problems(key, str(got), base)
        elif isinstance(OmegaConf.select(base, key), DictConfig) and not isinstance(
            override.value(), dict
        ):
            fix = f"Choose a member as {key.replace('.', '/')}=NAME, or set a key inside."
            yield Problem(key, "is a group of keys", got, fix)


def _range_problems(key: str, text: str, base: DictConfig) -> Iterator[Problem]:
    try:
        parse_range(key, text, OmegaConf.select(base, key))
    except SpaceError as error:
        yield from error.problems


def _nearest(key: str, known: Sequence[str]) -> str:
    # Of 60 keys only near ones help: by the whole path, by its last word, or its group.
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


def _paths(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in config:
        name, child = str(key), config._get_node(key)
        yield prefix + name
        is_group = isinstance(child, DictConfig) and not child._is_none()
        if is_group and prefix + name != "search.space":
            assert isinstance(child, DictConfig)
            yield from _paths(child, f"{prefix}{name}.")


def _space(
    config: DictConfig, inline: Mapping[str, str], fixed: set[str]
) -> tuple[dict[str, str], list[str]]:
    """Return the space and the default space's paths that a fixed value took out of it."""
    node = OmegaConf.select(config, "search.space")
    try:
        default = OmegaConf.to_container(node, resolve=True) if node is not None else {}
    except OmegaConfBaseException as error:
        reason = Verbatim(str(error).splitlines()[0])
        raise SpaceError(Problem("search.space", "must resolve", reason)) from None
    assert isinstance(default, dict)
    texts = {str(path): str(text) for path, text in default.items() if path not in fixed}
    return {**texts, **inline}, [str(path) for path in default if path in fixed]
