"""Predictions so far, in a folder beside their file: what a killed command leaves to the next one.

The command that adds to them holds a lock, so that a second one does not add the same rows. A
command that is killed after its file is complete leaves the folder; the next one there removes it.

Parts grow with the number of rows before them, so that a kill costs little and there are few parts.
Their sizes depend on nothing else, so that a continued file is the same as one made at once.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.machine.file import write_json, write_text
from search.machine.lock import InUse, locked

MIN_ROWS, MAX_ROWS = 256, 8192
ABOUT = "about.json"
ENDING = ".parts"


class Parts:
    """The predictions of an output so far; a context that removes them once the file is there.

    Args:
        output: The file that they will become.
        about: Digests of what they are made of, e.g. `input` and `model`.

    Raises:
        ConfigError: Those in the folder are made of something else, or another command adds to
            them, or has completed the file.

    """

    def __init__(self, output: Path, about: Mapping[str, str]) -> None:
        self.folder = _folder_of(output)
        self._output, self._about = output, about
        self._held = ExitStack()

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            try:
                held.enter_context(locked(self.folder))
            except InUse:
                rule = "must be written by one command at a time"
                got = Verbatim(f"{self._output}, which another finesweep predict writes")
                fix = "Wait for it, or name another file."
                raise ConfigError(Problem("output", rule, got, fix)) from None
            try:
                check_new(self._output)  # another command may have completed it since
                self._check()
            except BaseException:
                if self._output.exists():
                    shutil.rmtree(self.folder, ignore_errors=True)
                raise
            self._held = held.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        if self._output.exists() or not self.num_done:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._held.close()

    def _check(self) -> None:
        file = self.folder / ABOUT
        before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        if before is None:
            write_json(file, dict(self._about))
            return
        if other := [name for name, digest in self._about.items() if before.get(name) != digest]:
            rule = f"its predictions so far must be of the same {' and '.join(other)}"
            fix = f"Choose another file, or remove {self.folder} to begin again."
            got = Verbatim(f"{self._output}, begun with another")
            raise ConfigError(Problem("output", rule, got, fix))

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

    def _parts(self) -> Iterator[list[str]]:
        done = 0
        while (file := self.folder / f"{done:010}.jsonl").is_file():
            part = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
            done += len(part)
            yield part


def check_new(output: Path) -> None:
    """Raise ConfigError if there is a file that would be overwritten."""
    if output.exists():
        fix = "Nothing is overwritten: choose another file, or remove this one."
        raise ConfigError(Problem("output", "must be a new file", str(output), fix))


def remove_finished(folder: Path) -> None:
    """Remove the parts of complete files: their commands were killed at the very end."""
    for parts in folder.glob(f".*{ENDING}"):
        output = folder / parts.name[1:].removesuffix(ENDING)
        if output.exists() and (parts / ABOUT).is_file():  # other programs name folders so, too
            with suppress(InUse), locked(parts):
                shutil.rmtree(parts, ignore_errors=True)


def _folder_of(output: Path) -> Path:
    return output.with_name(f".{output.name}{ENDING}")


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
