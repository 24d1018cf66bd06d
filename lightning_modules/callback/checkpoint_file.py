"""The files of checkpoints from which a run resumes bit-equal.

Everything random is a function of (seed, step), so a checkpoint holds the step, the trained
tensors, the optimizer's state and the record. The best validation's tensors stay in files of their
own, see `kept`; if the checkpoint is of the same step, these are the trained tensors too.

The file is torch's own, followed by its sha256. It is written atomically and the previous file is
kept, so if a crash or a bad disk damages one of the two, the other is intact.
"""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from lightning_modules.callback.best import Best
from lightning_modules.callback.kept import Kept
from lightning_modules.folder import BEST_FILE, CHECKPOINT_FILES
from lightning_modules.machine.file import has_space, replacing
from lightning_modules.model.state import num_bytes_of
from lightning_modules.outcome import Record

if TYPE_CHECKING:
    from torch import Tensor

DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint.

    Attributes:
        record: The run's record.
        network: The trained tensors by name.
        optimizer: The optimizer's state.
        best: The best validation: its files, or its tensors in a checkpoint of an earlier version;
            None if there was none.
        precision: The scale of the loss in fp16, and what it follows from; else nothing.

    """

    record: Record
    network: Mapping[str, Tensor]
    optimizer: dict[str, Any]
    best: Kept | Best | None
    precision: Mapping[str, Any] = field(default_factory=dict)


class BrokenCheckpoint(Exception):
    """A file is not a checkpoint as it was written."""


def load_checkpoint(folder: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """Return the folder's newest intact checkpoint; None if there is none.

    Calls `warn` about missing or broken files, and deletes broken ones, since the next checkpoint
    would otherwise replace the intact file with the broken one.
    """
    if not any((folder / name).exists() for name in CHECKPOINT_FILES):
        return None
    problems = []
    for name in CHECKPOINT_FILES:
        try:
            checkpoint = read_checkpoint(folder / name)
        except FileNotFoundError:
            problems.append(f"{name} is missing")
        except BrokenCheckpoint as broken:
            problems.append(f"{name} is broken ({broken})")
            (folder / name).unlink()
        else:
            if problems:
                warn(f"{problems[0]}; resuming from {name}, step {checkpoint.record.step}")
            return checkpoint
    warn(f"{', '.join(problems)}; starting again from the beginning")
    return None


def read_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint at `path`.

    Raises:
        FileNotFoundError: There is no file.
        BrokenCheckpoint: The file is damaged, or no checkpoint.

    """
    with path.open("rb") as file:
        try:
            _check_digest(file)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            raise BrokenCheckpoint("the disk cannot read it") from error
        file.seek(0)
        try:
            # weights_only: a checkpoint is tensors and plain values, and must never run code.
            state = torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            raise BrokenCheckpoint("it contains more than tensors and plain values") from None
    best, network = _best(state["best"]), state["network"]
    if isinstance(best, Kept):
        if problem := best.problem(path.parent):
            raise BrokenCheckpoint(problem)
        if network is None:
            network = load_file(path.parent / best.file(BEST_FILE))
    record = Record.from_dict(state["record"])
    precision = state.get("precision", {})  # checkpoints of earlier versions have none
    return Checkpoint(record, network, state["optimizer"], best, precision)


def _best(values: Mapping[str, Any] | None) -> Kept | Best | None:
    if values is None:
        return None
    return Best(**values) if "weights" in values else Kept(**values)


def state_of(
    record: Record,
    network: Mapping[str, Tensor] | None,
    optimizer: Mapping[str, Any],
    best: Kept | None,
    precision: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the content of a checkpoint's file; `network` is None if it is the best one."""
    return {
        "record": record.as_dict(),
        "network": network,
        "optimizer": optimizer,
        "best": None if best is None else asdict(best),
        "precision": dict(precision or {}),
    }


def write_checkpoint(path: Path, state: Mapping[str, Any], previous: Path) -> None:
    """Write `state` to `path`; move the file that was there to `previous`.

    If there is space for it only without the file at `previous`, this is deleted first: the one at
    `path` is intact until the new one is.

    Raises:
        DiskFull: There is not enough space; the file at `path` is unchanged.

    """
    num_bytes = num_bytes_of(state)
    if (
        path.exists()
        and previous.exists()
        and not has_space(path, num_bytes)
        and has_space(path, num_bytes - previous.stat().st_size)
    ):
        previous.unlink()
    with (
        replacing(path, num_bytes, previous) as draft,
        draft.open("wb") as file,
    ):
        hashing: Any = _HashingFile(file)
        torch.save(dict(state), hashing)
        file.write(hashing.hash.digest())


class _HashingFile:
    """A file for torch.save that hashes what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.hash = hashlib.sha256()
        self._file = file

    def write(self, part: bytes) -> int:
        self.hash.update(part)
        return self._file.write(part)

    def flush(self) -> None:
        self._file.flush()


def _check_digest(file: IO[bytes]) -> None:
    left = file.seek(0, os.SEEK_END) - DIGEST_BYTES
    if left <= 0:
        raise BrokenCheckpoint("it is truncated")
    file.seek(0)
    digest = hashlib.sha256()
    while left > 0:
        part = file.read(min(left, 1 << 20))
        digest.update(part)
        left -= len(part)
    if file.read() != digest.digest():
        raise BrokenCheckpoint("its content does not match its sha256")
