"""Paths as people type them: `~` is the home folder, `$NAME` a variable of the environment."""

from __future__ import annotations

import os
from pathlib import Path

_STARTS = (".", "/", "~", "$")


def typed_path(text: str | Path) -> Path:
    """Return a path with `~` and `$NAME` expanded, unless a file has the very name that was typed.

    What cannot be expanded, e.g. an unknown variable, stays as it is.
    """
    path = Path(text)
    return path if path.exists() else Path(os.path.expanduser(os.path.expandvars(path)))  # noqa: PTH111 - never raises


def is_path(text: str) -> bool:
    """Return whether a text is written as a path, and so cannot be a name on the hub."""
    return text.startswith(_STARTS)
