"""Where the backbone of an exported head lies on this machine."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from lightning_modules.exported import read_manifest
from lightning_modules.model.base import Attention
from lightning_modules.model.hub import check_reachable
from lightning_modules.model.minilm import HUB_NAME, PACKAGE, Minilm, Source


def exported_base(folder: Path) -> str | None:
    """Return the backbone's folder or hub name; None where the export holds all it needs.

    Raises:
        ConfigError: The backbone cannot be had.

    """
    manifest = read_manifest(folder)
    base: str | None = manifest["base"] if manifest["pooled_head"] else None
    if base == HUB_NAME and find_spec(PACKAGE) is not None:
        return Minilm(source=Source.package, attention=Attention.sdpa).location()
    if base is not None:
        check_reachable("model", base)
    return base
