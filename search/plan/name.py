"""The name of a study or run, as it is used in folders and in the storage."""

from __future__ import annotations

from lightning_modules.error import ConfigError, Problem
from search.storage.location import folder_name


def plain_name(key: str, name: object) -> str:
    """Return the plain name of a study or run, see `search.storage.location.folder_name`.

    Raises:
        ConfigError: It is empty.

    """
    # YAML and Hydra read a name of digits as a number.
    text = str(name) if isinstance(name, str | int | float) else ""
    if not text:
        raise ConfigError(Problem(key, "must be a name", name, f"Set {key}=NAME."))
    return folder_name(text)
