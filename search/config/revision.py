"""The revision of a model on the hub: a study or run stores the commit that a name meant.

If nothing is named, a new one takes the newest commit, and a continued one the commit it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REVISION = "model.revision"


def is_unnamed(values: Mapping[str, Any]) -> bool:
    """Return whether a configuration, by config path, names no revision."""
    return values.get(REVISION) is None
