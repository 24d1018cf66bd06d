"""What is made once and kept on disk, for all processes that share the cache.

An entry is a sealed folder (`machine.seal`): one that is damaged, or was not written to its end, is
made again. Processes that need the same one wait for the first of them to make it. The cache is
bounded: the entries that were not used for the longest time make room for a new one. If it cannot
be written, or an entry cannot be read, each process makes its own.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

from lightning_modules.machine.file import DiskFull, draft_of, raising_disk_full, sync
from lightning_modules.machine.seal import SEAL, damage_of, seal
from lightning_modules.machine.store import BOUNDED, cache_folder, max_bytes
from lightning_modules.machine.writable import refusal
from lightning_modules.outcome import Ending, Stopped

if TYPE_CHECKING:
    from lightning_modules.cache import Cache
    from lightning_modules.hooks import Hooks

T = TypeVar("T")

WAIT_SECONDS = 600.0
"""How long to wait for another process that writes nothing; then each makes its own, and the first
one stays."""
POLL_SECONDS = 0.1
ABANDONED_SECONDS = 24 * 3600
"""A draft that was not changed for so long is of a process that was killed."""


def stored(
    part: str,
    key: str,
    make: Callable[[Path], None],
    load: Callable[[Path], T],
    hooks: Hooks,
    cache: Cache,
) -> T:
    """Return what `load` reads from an entry; `make` writes it the first time.

    Args:
        part: The part of the cache, e.g. `tokenized`.
        key: The entry's name, by which its content is determined.
        make: Writes files to an empty folder.
        load: Reads them; may map them into memory, also if they are deleted later.
        hooks: Told what cannot be read or kept; may interrupt while another process makes it.
        cache: Remembers what was said, for later runs.

    Raises:
        DiskFull: There is no space for it.
        Stopped: Interrupted.

    """
    folder = cache_folder() / part / key
    say = partial(_say_once, hooks, cache)
    try:
        if (found := _read(folder, load, hooks)) is not None:
            return found
        if (reason := refusal(folder)) is not None:
            return _unkept(folder, f"written ({reason})", make, load, say)
        with _alone(folder, hooks):
            if (found := _read(folder, load, hooks)) is not None:
                return found
            try:
                return _made(folder, make, load, say)
            except DiskFull:
                raise
            except OSError as error:  # e.g. a disk that has become read-only
                return _unkept(folder, f"written ({error.strerror or error})", make, load, say)
    except _Unreadable as error:
        return _unkept(folder, f"read ({error})", make, load, say)


class _Unreadable(Exception):
    """An entry is there that this user must not read, e.g. because another user wrote it."""


def _read(folder: Path, load: Callable[[Path], T], hooks: Hooks) -> T | None:
    """Return an entry's value; None, and remove it, if it is not whole."""
    try:
        if not folder.is_dir():
            return None
        damage = damage_of(folder) if (folder / SEAL).is_file() else ""  # of an earlier version
    except PermissionError as error:
        raise _Unreadable(error.strerror) from None
    if damage is None:
        with suppress(FileNotFoundError):  # another process has made room
            value = load(folder)
            with suppress(OSError):
                os.utime(folder / SEAL)  # it was used
            return value
    elif damage and folder.is_dir():
        hooks.warn(f"{folder} is damaged, and is made again: {damage}")
    _remove(folder)
    return None


def _made(
    folder: Path,
    make: Callable[[Path], None],
    load: Callable[[Path], T],
    say: Callable[[str], None],
) -> T:
    """Make an entry, completely or not at all, and return its value."""
    draft = draft_of(folder)
    shutil.rmtree(draft, ignore_errors=True)  # of a killed process that had the same PID
    try:
        with raising_disk_full(folder):
            draft.mkdir(parents=True)
            make(draft)
            num_bytes = seal(draft)
        if num_bytes > max_bytes():
            say(_too_large(folder, num_bytes))
            return load(draft)
        _make_room(num_bytes)
        try:
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            return load(draft)  # another process was faster
        sync(folder.parent)
        return load(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _unkept(
    folder: Path,
    reason: str,
    make: Callable[[Path], None],
    load: Callable[[Path], T],
    say: Callable[[str], None],
) -> T:
    """Make a value that no other process can use."""
    say(
        f"the cache {folder.parent} cannot be {reason}: each process makes its own; "
        "FINESWEEP_CACHE=DIR names another folder"
    )
    with TemporaryDirectory(prefix="finesweep-") as temporary, raising_disk_full(Path(temporary)):
        make(Path(temporary))
        return load(Path(temporary))


def _make_room(num_bytes: int) -> None:
    """Remove entries until another one of `num_bytes` fits under the cache's bound."""
    entries = []
    for part in BOUNDED:
        for folder in (cache_folder() / part).glob("*"):
            with suppress(OSError):  # another process removes it, too
                if folder.suffix == ".draft":
                    if time.time() - _last_write(folder) > ABANDONED_SECONDS:
                        shutil.rmtree(folder, ignore_errors=True)
                elif folder.is_dir():
                    is_sealed = (folder / SEAL).is_file()  # else it is of an earlier version
                    used = (folder / SEAL if is_sealed else folder).stat().st_mtime
                    size = sum(each.stat().st_size for each in folder.iterdir())
                    entries.append((used, size, folder))
    total = num_bytes + sum(size for _, size, _ in entries)
    for _, size, folder in sorted(entries):
        if total <= max_bytes():
            return
        _remove(folder)
        total -= size


def _last_write(draft: Path) -> float:
    """Return when something was last written to a draft, in seconds since 1970."""
    return max(each.stat().st_mtime for each in (draft, *draft.iterdir()))


def _remove(folder: Path) -> None:
    """Remove an entry; processes that have mapped its files keep what they mapped."""
    aside = draft_of(folder)
    with suppress(OSError):
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)  # so that nobody finds a part of it
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _alone(folder: Path, hooks: Hooks) -> Iterator[None]:
    """Let one process at a time into the block; the system unlocks for one that is killed."""
    lock = folder.with_name(f".{folder.name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    except OSError:
        yield
        return
    with file:
        began = time.time()
        while not _locked(file.fileno()) and _idle_seconds(folder, began) < WAIT_SECONDS:
            hooks.heartbeat(f"waiting for another process that fills {folder.parent}")
            if hooks.interrupted():
                raise Stopped(
                    Ending.interrupted, "interrupted while another process filled a cache"
                )
            time.sleep(POLL_SECONDS)
        try:
            yield
        finally:
            with suppress(OSError):
                lock.unlink()


def _idle_seconds(folder: Path, began: float) -> float:
    """Return for how long no process has written to a draft of an entry, at most since `began`."""
    last = began
    for draft in folder.parent.glob(f".{folder.name}.*.draft"):
        with suppress(OSError):  # it is no draft any more
            last = max(last, _last_write(draft))
    return time.time() - last


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _say_once(hooks: Hooks, cache: Cache, text: str) -> None:
    cache.get_or_make(("said", text), partial(hooks.warn, text))


def _too_large(folder: Path, num_bytes: int) -> str:
    return (
        f"{num_bytes / 1e9:.1f} GB for {folder.parent} are not kept: "
        f"FINESWEEP_CACHE_GB={max_bytes() / 1e9:g}"
    )
