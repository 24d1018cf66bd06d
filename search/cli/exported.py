"""Where the backbone of an exported head lies on this machine."""

from __future__ import annotations

from pathlib import Path

from lightning_modules.exported import read_manifest
from lightning_modules.model.hub import check_reachable
from lightning_modules.model.minilm import HUB_NAME, Minilm, Source


def exported_base(folder: Path) -> str | None:
    """Return the backbone's folder or hub name; None where the export is whole.

    Raises:
        ConfigError: The backbone cannot be had.

    """
    manifest = read_manifest(folder)
    if not manifest["pooled_head"]:
        return None
    base = str(manifest["base"])
    if base == HUB_NAME:
        return Minilm(source=Source.package).location()
    if not Path(base).is_dir():
        check_reachable("model", base)
    return base
