"""Canonical text of a configuration, for equality."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def canonical_key(values: Mapping[str, Any]) -> str:
    """Return values by config path as text; the same values are the same text.

    >>> canonical_key({"strategy.dropout": 0.0}) == canonical_key({"strategy.dropout": 0})
    True
    """
    return json.dumps({path: _plain(value) for path, value in values.items()}, sort_keys=True)


def renewed_key(key: str) -> str:
    """Return the same configuration's key of today; before, 0.0 and 0 had one each."""
    return canonical_key(json.loads(key))


def _plain(value: Any) -> Any:
    # A YAML's 0.0 and a command line's choice(0,0.1) are one value to a float's setting.
    return int(value) if isinstance(value, float) and value.is_integer() else value
