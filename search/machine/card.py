"""Leases of cards: which worker of this machine trains on which GPU.

A worker holds a lock on a file for each of its cards, from its start to its death, when the kernel
lets go of it. So all workers of a user on a machine, of one study or of several, know which cards
are free, whether a sweep started them or they joined, and no card stays taken by a dead one.

A card has `search.workers_per_device` places. Without that setting it has one, and workers share
cards only when none is free.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from search.machine.gpu import Gpu, environment_of

MAX_SHARING = 64
"""Most workers on a card without a setting."""
SHARE = "FINESWEEP_GPU_SHARE"
"""The environment variable with a worker's share of the memory of its cards."""


def lock_folder() -> Path:
    """Return this user's folder for the locks of this machine."""
    return Path(tempfile.gettempdir()) / f"finesweep-{os.getuid()}" / "cards"


@dataclass(frozen=True)
class Taken:
    """Cards that are locked while one of the descriptors is open in any process.

    Attributes:
        gpus: The cards; none on a machine without.
        descriptors: Of the locks, for the worker to inherit; the caller closes its own.
        place: Which place of the cards, from 0.
        share: The worker's share of their memory; None if others have no claim to it.

    """

    gpus: Sequence[Gpu] = ()
    descriptors: Sequence[int] = ()
    place: int = 0
    share: float | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the worker."""
        share = {} if self.share is None else {SHARE: str(self.share)}
        return {**environment_of(self.gpus), **share}

    def release(self) -> None:
        """Close the caller's descriptors; a process that inherited them keeps the cards."""
        for descriptor in self.descriptors:
            os.close(descriptor)


def take(
    found: Sequence[Gpu], num_devices: int, per_device: int | None, folder: Path | None = None
) -> Taken | None:
    """Lock cards for one worker; return None if each has as many workers as it may have.

    Args:
        found: The cards that the worker may have. With fewer than it needs, it gets none, and
            trains without or says so itself.
        num_devices: How many it needs, > 0.
        per_device: Workers that may share a card, > 0; None: one, and if none is free any number.
        folder: Of the locks; None is `lock_folder()`.

    Raises:
        OSError: The locks cannot be written.

    """
    if len(found) < num_devices:
        return Taken()
    folder = folder or lock_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for place in range(per_device or MAX_SHARING):
        locked: list[tuple[Gpu, int]] = []
        for gpu, descriptor in _locks(found, place, folder):
            locked.append((gpu, descriptor))
            if len(locked) == num_devices:
                cards, descriptors = zip(*locked, strict=True)
                return Taken(cards, descriptors, place, 1 / per_device if per_device else None)
        for _, descriptor in locked:
            os.close(descriptor)
    return None


def limit_memory() -> None:
    """Let this process use its share of the memory of its cards, if it has one."""
    share = os.environ.get(SHARE)
    if share is None:
        return
    import torch

    for device in range(torch.cuda.device_count()):
        torch.cuda.set_per_process_memory_fraction(float(share), device)


def _locks(found: Sequence[Gpu], place: int, folder: Path) -> Iterator[tuple[Gpu, int]]:
    """Yield the cards whose place was free, now locked."""
    for gpu in found:
        path = folder / f"{gpu.card.replace('/', '-')}.{place}"
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield gpu, descriptor
            continue
        os.close(descriptor)
