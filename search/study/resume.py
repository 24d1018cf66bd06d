"""Compose a sweep's configuration: of a new study, or of one that the command continues."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lightning_modules.error import ConfigError
from search.config import (
    Composition,
    NotNamed,
    compose,
    compose_again,
    compose_free,
    is_free,
    is_free_command,
    name_plugins,
    own_plugins,
    packages_of,
    typed_name,
)
from search.plan.name import plain_name
from search.storage.location import study_folder
from search.study.follow import refuse_follow_up
from search.study.open import stored


def compose_study(overrides: Sequence[str], config_dir: Path | None = None) -> Composition:
    """Compose a sweep; what the command does not name stays as the stored study has it.

    The packages that the command or files of `config_dir` name are named for its workers, too.

    Args:
        overrides: The overrides of the command.
        config_dir: A folder with more group options.

    Raises:
        ConfigError, SpaceError: Like `search.config.compose`.

    """
    if config_dir is not None:
        name_plugins(own_plugins(overrides, config_dir))
    composition = _composed(overrides, config_dir)
    name_plugins(name for arm in composition.arms for name in packages_of(arm.tree))
    return composition


def _composed(overrides: Sequence[str], config_dir: Path | None) -> Composition:
    free = is_free_command(overrides)
    make = compose_free if free else partial(compose, "sweep")
    named = [typed_name(word) for word in overrides if word.startswith("study=")]
    composition = None if named else make(overrides, config_dir)
    name = composition.tree["study"] if composition else named[-1]
    try:
        before = stored(study_folder(Path(), plain_name("study", name)))
    except NotNamed:
        raise
    except ConfigError:
        before = None  # reported with everything else that is wrong
    if before is not None:
        refuse_follow_up(str(name), before.composition)
    if before is not None and (is_free(before.composition.tree) or not free):
        return compose_again(overrides, before.composition, config_dir)
    return composition or make(overrides, config_dir)
