"""Ask Hydra for a configuration: the options of `conf/` and of the user's folder, overridden."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from lightning_modules.error import ConfigError, Problem, Verbatim
from search.config.override import Override


def _conf_dir() -> Path:
    # A wheel has conf/ inside this package, a checkout next to it.
    packaged = Path(__file__).parents[1] / "_conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "conf"


CONF_DIR = _conf_dir().resolve()


def conf_dirs(config_dir: Path | None) -> list[Path]:
    """Return the folders that options and priors come from, in the order of precedence."""
    return [CONF_DIR] if config_dir is None else [config_dir, CONF_DIR]


@contextmanager
def hydra_ready(config_dir: Path | None) -> Iterator[None]:
    """Initialize Hydra to compose from `conf/` and `config_dir`."""
    if config_dir is not None and not config_dir.is_dir():
        raise ConfigError(Problem("--config-dir", "must be a folder", str(config_dir)))
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3", job_name="finesweep"):
        if config_dir is not None:
            loader: Any = GlobalHydra.instance().config_loader()
            path = f"file://{config_dir.resolve()}"
            # Hydra requires its schema source to be last.
            loader.get_search_path().prepend("command-line", path, "schema")
            loader.repository.initialize_sources(loader.get_search_path())
        yield


def compose_tree(name: str, overrides: Sequence[str]) -> tuple[DictConfig, dict[str, str]]:
    """Compose `conf/NAME.yaml`; return the configuration, and its option of each group.

    Raises:
        ConfigError: Hydra or OmegaConf refuses it.

    """
    config, options = _composed(name, tuple(overrides), tuple(_files()))
    return copy.deepcopy(config), dict(options)


def _files() -> Iterator[tuple[str, int, int]]:
    """Yield path, size and time of change of each file that Hydra may compose from."""
    loader: Any = GlobalHydra.instance().config_loader()
    for source in loader.get_search_path().get_path():
        folder = source.path.removeprefix("file://")
        if "://" not in folder:  # else Hydra's own
            for path in Path(folder).rglob("*.yaml"):
                try:
                    stat = path.stat()
                except FileNotFoundError:  # e.g. Emacs's lock of a file that is being edited
                    continue
                yield str(path), stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=256)
def _composed(
    name: str, overrides: Sequence[str], files: Sequence[tuple[str, int, int]]
) -> tuple[DictConfig, dict[str, str]]:
    """Compose once per choice of options and state of the files: it takes 70 ms."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            config = hydra_compose(name, overrides=list(overrides), return_hydra_config=True)
        except (HydraException, OmegaConfBaseException) as error:
            reason = Verbatim(str(error).splitlines()[0])
            raise ConfigError(Problem("config", "must compose", reason)) from None
    choices = config.hydra.runtime.choices
    options = {
        str(group): str(option)
        for group, option in choices.items()
        if option is not None and not str(group).startswith("hydra/")
    }
    with open_dict(config):
        del config["hydra"]
    return config, options


def with_values(
    name: str, base: DictConfig, groups: Sequence[str], values: Sequence[Override]
) -> DictConfig:
    """Return the configuration that the group overrides compose, with values set on its keys.

    Args:
        name: `train` or `sweep`.
        base: The configuration that the group overrides compose.
        groups: The group overrides.
        values: Overrides of keys in `base`; none is a range.

    """
    if any(override.parsed.type is not OverrideType.CHANGE for override in values):
        return compose_tree(name, [*groups, *texts_of(values)])[0]
    # Composing takes 70 ms; Hydra also merges plain values last, in the same way.
    config = copy.deepcopy(base)
    for override in values:
        value = override.parsed.value()
        try:
            # A mapping may have keys that the user chose, e.g. model.config={n_layer: 4}.
            is_mapping = isinstance(value, dict)
            OmegaConf.update(config, override.key, value, merge=True, force_add=is_mapping)
        except OmegaConfBaseException:
            # Hydra reports what is wrong.
            return compose_tree(name, [*groups, *texts_of(values)])[0]
    return config


def texts_of(overrides: Iterable[Override]) -> list[str]:
    """Return overrides as Hydra takes them; it has no `experiment=null`, which chooses nothing."""
    return [
        _text(override)
        for override in overrides
        if override.key != "experiment" or override.parsed.value() is not None
    ]


def _text(override: Override) -> str:
    # A mapping brings new keys, which Hydra accepts only with ++.
    has_keys = isinstance(override.parsed.value(), dict) and not override.text.startswith(
        ("+", "~")
    )
    return f"++{override.text}" if has_keys else override.text
