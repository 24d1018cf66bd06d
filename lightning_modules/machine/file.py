"""Atomic file writes: a reader sees the old file or the new one, never a part of one."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
# Of file systems without hard links, between two file systems, of a file with too many.
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV, errno.EMLINK)


class DiskFull(OSError):
    """The disk is too full for a file; an existing file at its path is unchanged.

    Attributes:
        path: The file.
        num_bytes: Bytes that it needs; None if unknown.
        free_bytes: Bytes that were free after the partial draft was deleted.

    """

    def __init__(self, path: Path, num_bytes: int | None, code: int = errno.ENOSPC) -> None:
        self.path = path
        self.num_bytes = num_bytes
        self.free_bytes = free_bytes(path)
        full = "the disk quota is used up" if code == errno.EDQUOT else "the disk is full"
        needs = "cannot be written" if num_bytes is None else f"needs {megabytes(num_bytes)}"
        super().__init__(code, f"{full}: {path} {needs}, {megabytes(self.free_bytes)} are free")

    def __str__(self) -> str:
        return str(self.strerror)


@contextmanager
def replacing(
    path: Path,
    num_bytes: int | None = None,
    previous: Path | None = None,
    *,
    waits_for_name: bool = True,
) -> Iterator[Path]:
    """Yield a temporary path; on success sync it to disk and move it to `path`.

    Args:
        path: The file.
        num_bytes: Bytes that it needs at least. If fewer are free, nothing is written, because a
            completely full disk also stops other processes that write there.
        previous: Where the old file is moved instead of being deleted; one of the two is complete
            at all times.
        waits_for_name: Whether to sync the folder, too. If not, the new file can still be missing
            after a power failure, until the next file of its folder is written that waits.

    Raises:
        DiskFull: The disk is too full; the draft is deleted.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = draft_of(path)
    with raising_disk_full(path, num_bytes):
        try:
            yield draft
            sync(draft)
            if previous is not None and path.exists():
                path.replace(previous)
            draft.replace(path)
            if waits_for_name:
                sync(path.parent)
        finally:
            draft.unlink(missing_ok=True)


def draft_of(path: Path) -> Path:
    """Return the path where this thread of this process prepares the file or folder `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}.draft")


@contextmanager
def raising_disk_full(path: Path, num_bytes: int | None = None) -> Iterator[None]:
    """Raise DiskFull instead of any error that a full disk causes inside the block."""
    if num_bytes is not None and not has_space(path, num_bytes):
        raise DiskFull(path, num_bytes)
    try:
        yield
    except Exception as error:
        code = _full_code(error)
        if code is None:
            raise
    else:
        return
    raise DiskFull(path, num_bytes, code)


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk.

    A rename is durable only after the file, and then its folder, are.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def share(source: Path, path: Path) -> None:
    """Make `path` another name of the file `source`, or a copy where there are no such links.

    Both files must only be replaced, never changed.

    Raises:
        DiskFull: There is no space for it; a file at `path` is unchanged.

    """
    with replacing(path) as draft:
        draft.unlink(missing_ok=True)  # of a killed process that had the same PID
        try:
            draft.hardlink_to(source)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            shutil.copyfile(source, draft)


def free_bytes(path: Path) -> int:
    """Return the free bytes on the disk where `path` is, or would be."""
    return shutil.disk_usage(_existing(path)).free


def has_space(path: Path, num_bytes: int) -> bool:
    """Return whether `num_bytes` are free where `path` is, or if that is unknown."""
    return _total_bytes(path) == 0 or free_bytes(path) >= num_bytes


def megabytes(num_bytes: int) -> str:
    """Return a size in megabytes, or in bytes if it is small.

    >>> megabytes(12_345_678), megabytes(4096)
    ('12.3 MB', '4,096 bytes')
    """
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 100_000 else f"{num_bytes:,} bytes"


def write_text(path: Path, text: str, *, waits_for_name: bool = True) -> None:
    """Replace the file at `path` with `text`."""
    write_bytes(path, text.encode(), waits_for_name=waits_for_name)


def write_bytes(path: Path, content: bytes, *, waits_for_name: bool = True) -> None:
    """Replace the file at `path` with `content`; see `replacing`."""
    with replacing(path, len(content), waits_for_name=waits_for_name) as draft:
        draft.write_bytes(content)


def write_json(path: Path, value: object, *, waits_for_name: bool = True) -> None:
    """Replace the file at `path` with `value` as indented JSON; raise ValueError for NaN."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text, waits_for_name=waits_for_name)


def _full_code(error: BaseException | None) -> int | None:
    """Return the errno of a full-disk error, even if a library wrapped it; None for others.

    torch raises its own error from Python's; safetensors and Arrow mention it in the message.
    """
    while error is not None:
        for code in FULL:
            if getattr(error, "errno", None) == code or os.strerror(code) in str(error):
                return code
        error = error.__cause__ or error.__context__
    return None


def _total_bytes(path: Path) -> int:
    # 0 if the file system reports no size, e.g. a tmpfs without a limit.
    return shutil.disk_usage(_existing(path)).total


def _existing(path: Path) -> Path:
    """Return the path, or its closest parent that exists."""
    return next(each for each in (path, *path.absolute().parents) if each.exists())
