"""The pretrained model that an adapter or a head was trained on: a folder with its files."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from lightning_modules.machine.hub.snapshot import Snapshot, find_snapshot
from lightning_modules.machine.hub.wanted import Wanted
from lightning_modules.model.attention import Attention
from lightning_modules.model.dtype import Dtype
from lightning_modules.model.minilm import HUB_NAME, PACKAGE, Minilm, Source

Fetch = Callable[[Snapshot], Path]
"""Downloads what is missing of a model; returns its folder."""


def base_folder(name: str, revision: str | None, fetch: Fetch | None = None) -> Path:
    """Return the folder of a pretrained model, after downloading what is missing.

    Args:
        name: Its folder or hub name.
        revision: Its commit; None takes the newest.
        fetch: Downloads the model; None does so without a word.

    Raises:
        ConfigError: The model is not available.

    """
    if Path(name).is_dir():
        return Path(name)
    if name == HUB_NAME and find_spec(PACKAGE) is not None:
        model = Minilm(source=Source.package, attention=Attention.sdpa, dtype=Dtype.fp32)
        return Path(model.location())
    snapshot = find_snapshot(Wanted("model", "model", name, revision, "or export it again"))
    return snapshot.fetch(weights=True) if fetch is None else fetch(snapshot)
