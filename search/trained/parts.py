"""Predictions so far, in a folder beside their file: what a killed command leaves to the next one.

Parts grow with the number of rows before them, so that a kill costs little and there are few parts.
Their sizes depend on nothing else, so that a continued file is the same as one made at once.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.machine.file import write_json, write_text

MIN_ROWS, MAX_ROWS = 256, 8192
ABOUT = "about.json"


class Parts:
    """The predictions of an output so far.

    Args:
        output: The file that they will become.
        about: Digests of what they are made of, e.g. `input` and `model`.

    Raises:
        ConfigError: Those in the folder are made of something else.

    """

    def __init__(self, output: Path, about: Mapping[str, str]) -> None:
        self.folder = output.with_name(f".{output.name}.parts")
        file = self.folder / ABOUT
        if file.is_file():
            before = json.loads(file.read_text(encoding="utf-8"))
            other = [name for name, digest in about.items() if before.get(name) != digest]
            if other:
                rule = f"its predictions so far must be of the same {' and '.join(other)}"
                fix = f"Choose another file, or remove {self.folder} to begin again."
                got = Verbatim(f"{output}, begun with another")
                raise ConfigError(Problem("output", rule, got, fix))
        self._about = about

    def start(self) -> None:
        """Begin to keep predictions."""
        if not (self.folder / ABOUT).is_file():
            write_json(self.folder / ABOUT, dict(self._about))

    @property
    def num_done(self) -> int:
        """The number of rows that have been predicted, from the first one on."""
        return sum(len(part) for part in self._parts())

    def add(self, start: int, predictions: Sequence[Mapping[str, Any]]) -> None:
        """Keep the predictions of the rows from `start` on."""
        lines = [json.dumps(each, ensure_ascii=False, default=str) for each in predictions]
        write_text(self.folder / f"{start:010}.jsonl", "\n".join(lines) + "\n")

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for part in self._parts():
            for line in part:
                yield json.loads(line)

    def remove(self) -> None:
        """Delete the folder; the file has all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _parts(self) -> Iterator[list[str]]:
        done = 0
        while (file := self.folder / f"{done:010}.jsonl").is_file():
            part = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
            done += len(part)
            yield part


def num_rows_from(start: int) -> int:
    """Return the number of rows of the part that begins with row `start`.

    >>> [num_rows_from(start) for start in (0, 256, 512, 1024, 100_000)]
    [256, 256, 512, 1024, 8192]
    """
    return min(MAX_ROWS, max(MIN_ROWS, start))


def rows_digest(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the digest of rows, which depends on their order."""
    found = hashlib.sha256()
    for row in rows:
        found.update(json.dumps(row, default=str).encode() + b"\n")
    return found.hexdigest()


def folder_digest(folder: Path) -> str:
    """Return the digest of a folder's files by name, size and time of change.

    Their content may be many gigabytes.
    """
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        state = path.stat()
        found.update(f"{path.relative_to(folder)} {state.st_size} {state.st_mtime_ns}\n".encode())
    return found.hexdigest()
