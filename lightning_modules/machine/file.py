"""Files that are either the old one or the new one, never half of either."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFull(OSError):
    """A file for which there is no room; whatever stood in its place still does.

    Attributes:
        path: The file.
        num_bytes: What it needs, None where that is unknown.
        free_bytes: What was free, once the half-written draft was gone.

    """

    def __init__(self, path: Path, num_bytes: int | None, code: int = errno.ENOSPC) -> None:
        self.path = path
        self.num_bytes = num_bytes
        self.free_bytes = free_bytes(path)
        full = "the disk quota is used up" if code == errno.EDQUOT else "the disk is full"
        needs = "has no room" if num_bytes is None else f"needs {megabytes(num_bytes)}"
        super().__init__(code, f"{full}: {path} {needs}, {megabytes(self.free_bytes)} are free")

    def __str__(self) -> str:
        return str(self.strerror)


@contextmanager
def replacing(
    path: Path, num_bytes: int | None = None, previous: Path | None = None
) -> Iterator[Path]:
    """Yield a temporary path; on success it is synced to disk and takes `path`'s place.

    Args:
        path: The file.
        num_bytes: What it needs at least: where less is free, nothing is begun, for a disk
            filled to its brim also stops whoever else writes there.
        previous: Where the old file goes instead of away; at any instant one of the two is whole.

    Raises:
        DiskFull: There is no room; there is no draft left either.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    with telling_full(path, num_bytes):
        try:
            yield draft
            _sync(draft)
            if previous is not None and path.exists():
                path.replace(previous)
            draft.replace(path)
            _sync(path.parent)
        finally:
            draft.unlink(missing_ok=True)


@contextmanager
def telling_full(path: Path, num_bytes: int | None = None) -> Iterator[None]:
    """Raise DiskFull where what is done inside finds no room, whatever it raises itself."""
    if num_bytes is not None and _total_bytes(path) > 0 and free_bytes(path) < num_bytes:
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


def free_bytes(path: Path) -> int:
    """Return what is free on the disk where `path` is, or would be."""
    return shutil.disk_usage(_standing(path)).free


def megabytes(num_bytes: int) -> str:
    """Return a size for people.

    >>> megabytes(12_345_678), megabytes(4096)
    ('12.3 MB', '4,096 bytes')
    """
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 100_000 else f"{num_bytes:,} bytes"


def write_text(path: Path, text: str) -> None:
    """Replace the file at `path` by `text`."""
    content = text.encode()
    with replacing(path, len(content)) as draft:
        draft.write_bytes(content)


def write_json(path: Path, value: object) -> None:
    """Replace the file at `path` by `value` as indented JSON; refuse NaN and infinity."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _full_code(error: BaseException | None) -> int | None:
    """Return the number of a "no room" error, also of one that a library wrapped.

    torch raises its own error from Python's, safetensors and Arrow say it in their text.
    """
    while error is not None:
        for code in FULL:
            if getattr(error, "errno", None) == code or os.strerror(code) in str(error):
                return code
        error = error.__cause__ or error.__context__
    return None


def _total_bytes(path: Path) -> int:
    # 0 where the file system does not tell, as a tmpfs without a limit.
    return shutil.disk_usage(_standing(path)).total


def _standing(path: Path) -> Path:
    return next(each for each in (path, *path.absolute().parents) if each.exists())


def _sync(path: Path) -> None:
    # A rename is only durable once the file, then its folder, reached the disk.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
