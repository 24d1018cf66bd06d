"""The checked rows of large files, kept on disk: the next time they are mapped, not read again.

They are believed only for the same files, by the SHA-256 of their contents, the same settings, the
same code of finesweep that reads and checks rows, and the same versions of what it reads them with.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning_modules
from lightning_modules.cache import Cache
from lightning_modules.data.file.unchanged import check_unchanged, state_of
from lightning_modules.hooks import Hooks
from lightning_modules.machine.file import DiskFull
from lightning_modules.machine.store import ROWS
from lightning_modules.machine.stored import stored
from lightning_modules.rows.columns import Columns
from lightning_modules.rows.corpus import Corpus, Row

if TYPE_CHECKING:
    from lightning_modules.data.base import Data
    from lightning_modules.task.base import Task

_ABOUT = "corpus.json"
_READING = ("data", "rows", "task", "text", "error.py", "schema.py", "seed.py")
"""The code that decides what rows are read from a file."""
_PACKAGES = ("chardet", "numpy", "openpyxl", "pyarrow", "rensa")
"""What it reads and compares them with, besides Python."""


def kept_corpus(
    data: Data, task: Task, files: Sequence[Path], load: Callable[[], Corpus]
) -> Corpus:
    """Return the corpus of some files; `load` reads it the first time.

    Its notes say if the kept rows were damaged, or cannot be kept.

    Args:
        data: The data set, of finesweep's own code.
        task: The task, of finesweep's own code.
        files: The files.
        load: Reads and checks them.

    Raises:
        UserError: Like `load`, or a file changes meanwhile.

    """
    states = [state_of(path) for path in files]

    def make(folder: Path) -> None:
        corpus = load()
        for path, state in zip(files, states, strict=True):
            check_unchanged(path, state)  # or these are not the rows of the content in the key
        _write(corpus, folder)

    settings = (data.rows_key, task.cache_key, _code(), *map(_content, files))
    key = hashlib.sha256("\n".join(settings).encode()).hexdigest()[:32]
    said = _Said()
    try:
        corpus = stored(ROWS, key, make, _read, said, Cache())
    except DiskFull as error:
        said.warn(f"{error.path.parent} has no space for the checked rows: each process reads them")
        corpus = load()
    if not said.notes:
        return corpus
    fingerprint = corpus.fingerprint
    return replace(corpus, notes=(*corpus.notes, *said.notes)).with_fingerprint(fingerprint)


class _Said(Hooks):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def warn(self, text: str) -> None:
        self.notes.append(text)


def is_own(*objects: object) -> bool:
    """Return whether objects are of finesweep's own classes, whose code is part of the key."""
    own = f"{lightning_modules.__name__}."
    return all(type(each).__module__.startswith(own) for each in objects)


def _write(corpus: Corpus, folder: Path) -> None:
    whole = corpus.splits if corpus.read is None else corpus.read
    files: dict[int, str] = {}

    def name_of(rows: Sequence[Row]) -> dict[str, Any]:
        """Return where rows are, written once, and what is known of them."""
        kept = rows if isinstance(rows, Columns) else Columns.of(rows)
        if id(rows) not in files:
            files[id(rows)] = f"{len(files)}.arrow"
            kept.write(folder / files[id(rows)])
        is_list = not isinstance(rows, Columns)
        return {"file": files[id(rows)], "is_list": is_list, "sha256": kept.sha256}

    about = {
        "splits": {split: name_of(rows) for split, rows in corpus.splits.items()},
        "read": {split: name_of(rows) for split, rows in whole.items()},
        "notes": corpus.notes,
        "left_out": corpus.left_out,
        "fingerprint": corpus.fingerprint,
    }
    (folder / _ABOUT).write_text(json.dumps(about))


def _read(folder: Path) -> Corpus:
    about = json.loads((folder / _ABOUT).read_text())
    files: dict[str, Sequence[Row]] = {}

    def rows_of(entry: Mapping[str, Any]) -> Sequence[Row]:
        name = entry["file"]
        if name not in files:
            rows = Columns.read(folder / name, entry["sha256"])
            files[name] = list(rows) if entry["is_list"] else rows
        return files[name]

    splits, read = (
        {split: rows_of(entry) for split, entry in about[name].items()}
        for name in ("splits", "read")
    )
    corpus = Corpus(splits, tuple(about["notes"]), read, about["left_out"])
    return corpus.with_fingerprint(about["fingerprint"])


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return f"{path} {hashlib.file_digest(file, 'sha256').hexdigest()}"


@lru_cache(maxsize=1)
def _code() -> str:
    """Return the sum of the code that reads rows, so that other code reads them again."""
    folder = Path(lightning_modules.__file__).parent
    paths = [path for name in _READING for path in _sources(folder / name)]
    versions = [sys.version, *(f"{name} {version(name)}" for name in _PACKAGES)]
    digest = hashlib.sha256("\n".join(versions).encode())
    for path in paths:
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _sources(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.rglob("*.py"))
