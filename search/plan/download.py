"""What a study has to download from the hub before it can train."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from lightning_modules.machine.hub.snapshot import Snapshot
from lightning_modules.model.base import Model
from search.plan.pin import models_of
from search.plan.plan import Plan


@dataclass(frozen=True)
class Download:
    """What is missing of one commit of a model.

    Attributes:
        name: The model's name on the hub.
        commit: The commit's hash.
        missing_bytes: Bytes to download.
        num_bytes: Bytes of all files that training needs; None if the hub did not say.
        note: What to know about it; may be empty.

    """

    name: str
    commit: str
    missing_bytes: int
    num_bytes: int | None
    note: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)

    @property
    def text(self) -> str:
        """It in one line, e.g. `owner/name at 86b5e0934494: 0.44 GB to download`."""
        missing, every = size(self.missing_bytes), size(self.num_bytes or 0)
        how = f"{missing} to download" if missing == every else f"{missing} of {every} to download"
        if not self.missing_bytes:
            how = "in the cache"
        return f"{self.name} at {self.commit[:12]}: {how}"


def downloads_of(plan: Plan) -> list[Download]:
    """Return the download of every model of the hub that a plan's trials use, in a request each.

    Raises:
        HubError: Neither hub nor cache has one of them.

    """
    found = (download_of(model, weights=weights) for model, weights in models_of(plan))
    return [download for download in found if download is not None]


def download_of(model: Model, *, weights: bool) -> Download | None:
    """Return what is missing of a model; None if it does not come from the hub.

    Args:
        model: The model.
        weights: Whether its weights are needed.

    """
    snapshot = model.snapshot()
    return None if snapshot is None else missing_of(snapshot, weights=weights)


def missing_of(snapshot: Snapshot, *, weights: bool) -> Download:
    """Return what is missing of one commit of a model, with or without its weights."""
    missing = sum(file.num_bytes for file in snapshot.missing(weights=weights))
    every = sum(file.num_bytes for file in snapshot.needed(weights=weights))
    num_bytes = None if snapshot.files is None else every
    return Download(snapshot.wanted.name, snapshot.commit, missing, num_bytes, snapshot.note)


def size(num_bytes: int) -> str:
    """Return an amount of bytes.

    >>> size(4_400_000), size(440_000_000), size(16_060_000_000)
    ('4.4 MB', '0.44 GB', '16.06 GB')
    """
    if num_bytes < 100_000_000:
        return f"{num_bytes / 1e6:.1f} MB"
    return f"{num_bytes / 1e9:.2f} GB"
