"""The pictures and tables of a trial in the dashboard, made when somebody looks at them.

A trial only stores that it has them, with IDs such as `6d696e65-0012-1`: the name of its study in
hexadecimal digits, its number and the kind. The dashboard asks for an artifact by its ID alone, and
a database may have several studies. Each is made from the files of the trial's last attempt
whenever it is asked for, in 0.1 s; making them for every trial took a third of the time of a short
one. Other IDs are files of older versions.
"""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lightning_modules.folder import OUTCOME_FILE, read_records, table_file
from lightning_modules.outcome import Point
from lightning_modules.task.base import GENERATED, MISTAKES
from lightning_modules.task.metric.confusion import CONFUSION, confusion_counts
from search.report.picture import confusion_matrix, learning_curve
from search.storage.location import folder_name, root_of, study_folder

FOLDER = "artifacts"
CURVE = "learning curve.png"
MATRIX = "confusion matrix.png"
TABLE = "wrong examples.jsonl"  # the dashboard shows files with this ending as tables
WRITTEN = table_file(GENERATED)
TYPES = {".png": "image/png", ".jsonl": "application/jsonl"}

MAX_CHARACTERS = 500  # per table cell

log = logging.getLogger(__name__)

_ID = re.compile(r"([0-9a-f]+)-([0-9]{4,})-([0-9])")  # the dashboard takes digits, a-f, dashes


@dataclass(frozen=True)
class Artifact:
    """A picture or table that a trial has.

    Attributes:
        name: The file name that the dashboard shows.
        id: Its ID in the dashboard.

    """

    name: str
    id: str

    @property
    def kind(self) -> str:
        """Its media type."""
        return TYPES[Path(self.name).suffix]

    @property
    def attribute(self) -> tuple[str, str]:
        """The name and value of the system attribute in which Optuna keeps artifacts."""
        value = {
            "artifact_id": self.id,
            "filename": self.name,
            "mimetype": self.kind,
            "encoding": None,
        }
        return f"artifacts:{self.id}", json.dumps(value)


def artifacts_of(study: str, number: int, folder: Path) -> Iterator[Artifact]:
    """Yield the artifacts for which the attempt in `folder` of a study's trial has files."""
    for place, (name, (has, _)) in enumerate(_KINDS.items()):
        if has(folder):
            yield Artifact(name, f"{study.encode().hex()}-{number:04d}-{place}")


def study_of_artifact(artifact_id: str) -> str | None:
    """Return the study that an ID of `artifacts_of` names; None for any other text.

    >>> study_of_artifact("6d696e65-0012-1"), study_of_artifact("0-6d696e65-0012-1")
    ('mine', None)
    """
    match = _ID.fullmatch(artifact_id)
    try:
        return None if match is None else bytes.fromhex(match[1]).decode()
    except ValueError:
        return None


class ArtifactStore:
    """Optuna's store of artifacts: makes those of our trials, and reads those of older versions."""

    def __init__(self, folder: Path, metric: Callable[[Path], str]) -> None:
        """Open the store of a study, and of those that share its storage.

        Args:
            folder: The study's folder.
            metric: Returns the validation metric that decides in the study of a folder.

        """
        self._folder = folder
        self._metric = metric

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Return the content; raise ArtifactNotFound if it cannot be made."""
        from optuna.artifacts import FileSystemArtifactStore
        from optuna.artifacts.exceptions import ArtifactNotFound

        match = _ID.fullmatch(artifact_id)
        if match is None:
            return FileSystemArtifactStore(self._folder / FOLDER).open_reader(artifact_id)
        name, (_, make) = list(_KINDS.items())[int(match[3])]
        try:
            study = folder_name(bytes.fromhex(match[1]).decode())
            folder = study_folder(root_of(self._folder), study)
            attempts = (folder / "trials" / match[2]).glob("attempt-*")
            last = max(attempts, key=lambda path: int(path.name.partition("-")[2]), default=None)
            assert last is not None, "the trial's folder is gone"
            return io.BytesIO(make(last, lambda: self._metric(folder)))
        except Exception as error:
            log.exception("could not make %s of trial %d", name, int(match[2]))
            raise ArtifactNotFound(f"{name}: {error}") from error

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Refuse: only trials have artifacts."""
        raise PermissionError("this store is read-only")

    def remove(self, artifact_id: str) -> None:
        """Refuse: what a trial has stays."""
        raise PermissionError("this store is read-only")


def read_outcome(folder: Path) -> Mapping[str, Any] | None:
    """Return the attempt's outcome; None if it has none."""
    path = folder / OUTCOME_FILE
    outcome = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    assert outcome is None or isinstance(outcome, dict)
    return outcome


def _has_curve(folder: Path) -> bool:
    outcome = read_outcome(folder)
    return outcome is not None and bool(outcome["points"])


def _curve(folder: Path, metric: Callable[[], str]) -> bytes:
    outcome = read_outcome(folder)
    assert outcome is not None, "the attempt has no outcome"
    points = [Point(**point) for point in outcome["points"]]
    return learning_curve(points, metric(), Point(**outcome["best"]) if outcome["best"] else None)


def _has_matrix(folder: Path) -> bool:
    return (folder / table_file(CONFUSION)).is_file()


def _matrix(folder: Path, metric: Callable[[], str]) -> bytes:
    return confusion_matrix(*confusion_counts(read_records(folder / table_file(CONFUSION))))


def _rows_of(table: str) -> tuple[_Has, _Make]:
    def has(folder: Path) -> bool:
        path = folder / table_file(table)
        return path.is_file() and path.stat().st_size > 0

    def make(folder: Path, metric: Callable[[], str]) -> bytes:
        records: Sequence[dict[str, Any]] = read_records(folder / table_file(table))
        rows = [{name: _cell(value) for name, value in row.items()} for row in records]
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()

    return has, make


def _cell(value: object) -> object:
    is_long = isinstance(value, str) and len(value) > MAX_CHARACTERS
    return f"{str(value)[:MAX_CHARACTERS]}…" if is_long else value


_Has = Callable[[Path], bool]
_Make = Callable[[Path, Callable[[], str]], bytes]
_KINDS: Mapping[str, tuple[_Has, _Make]] = {  # IDs name the place: add new kinds at the end
    CURVE: (_has_curve, _curve),
    MATRIX: (_has_matrix, _matrix),
    TABLE: _rows_of(MISTAKES),
    WRITTEN: _rows_of(GENERATED),
}
