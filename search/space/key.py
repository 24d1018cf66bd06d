"""Canonical text of a configuration, for equality."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any


def canonical_key(values: Mapping[str, Any]) -> str:
    """Return values by config path as text; equal values give equal text.

    >>> canonical_key({"strategy.dropout": 0.0}) == canonical_key({"strategy.dropout": 0})
    True
    """
    return json.dumps({path: _plain(value) for path, value in values.items()}, sort_keys=True)


@lru_cache(maxsize=2**16)  # every ask looks at the keys of all trials
def renewed_key(key: str) -> str:
    """Convert a key of an older version, in which 0.0 and 0 had different keys."""
    return canonical_key(json.loads(key))


def _plain(value: Any) -> Any:
    # For a float setting, 0.0 in YAML and 0 in choice(0,0.1) are the same value.
    return int(value) if isinstance(value, float) and value.is_integer() else value
