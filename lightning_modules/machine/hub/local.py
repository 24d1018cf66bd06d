"""Where the hub's client keeps files on this machine (`HF_HOME`); other programs share them."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from lightning_modules.machine.file import write_text

_COMMIT = re.compile(r"[0-9a-f]{40}")


def is_commit(revision: str | None) -> bool:
    """Return whether a revision is the hash of a commit, which never means another one.

    >>> is_commit("86b5e0934494bd15c9632b12f734a8a67f723594"), is_commit("main"), is_commit(None)
    (True, False, False)
    """
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def folder_of(name: str, commit: str) -> Path:
    """Return where the files of a model's commit are."""
    return _repo(name) / "snapshots" / commit


def has_blob(name: str, blob: str) -> bool:
    """Return whether some commit of a model has brought this content."""
    return (_repo(name) / "blobs" / blob).is_file()


def last_commit(name: str, revision: str | None) -> str:
    """Return the commit that a revision meant when it was last downloaded; else the revision."""
    named = revision or "main"
    ref = _repo(name) / "refs" / named
    return ref.read_text(encoding="utf-8").strip() if ref.is_file() else named


def remember(name: str, revision: str | None, commit: str) -> None:
    """Note which commit a branch or tag means, for when there is no network."""
    named = revision or "main"
    ref = _repo(name) / "refs" / named
    if is_commit(named):
        return
    with suppress(OSError):  # others may own the cache
        ref.parent.mkdir(parents=True, exist_ok=True)
        write_text(ref, commit)


def _repo(name: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
