"""Many studies, each opened on its own, as one storage that optuna-dashboard can show.

IDs of studies and trials are those of their databases, moved by `SPAN` times the study's place.
Notes and artifacts name trials and files, so these names are moved too; the addresses of pictures
inside notes are moved when a browser asks for them. Only notes can be written.
"""

from __future__ import annotations

import copy
import json
import re
import threading
from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from optuna.storages import BaseStorage

from search.report.dashboard.artifact import study_of_artifact

if TYPE_CHECKING:
    from optuna.study import StudyDirection
    from optuna.study._frozen import FrozenStudy
    from optuna.trial import FrozenTrial, TrialState

SPAN = 10**9
"""More than any database has studies or trials, and few enough for a browser's numbers."""

_NOTE = re.compile(r"(dashboard:)([0-9]+)(:note_.*)")
_ARTIFACT = "artifacts:"
_PICTURE = re.compile(r"/artifacts/([0-9]+)/([0-9]+)/([^/]+)")


class Together(BaseStorage):
    """The studies of a folder as one storage."""

    def __init__(
        self, find: Callable[[], Sequence[Path]], open_one: Callable[[Path], BaseStorage]
    ) -> None:
        """Open the studies.

        Args:
            find: Returns the folders of the studies that there are now.
            open_one: Opens the storage of one.

        """
        self._find, self._open = find, open_one
        self._lock = threading.Lock()
        self._places: dict[Path, int] = {}
        self._storages: dict[Path, BaseStorage] = {}

    @property
    def folders(self) -> list[Path]:
        """The folders of the studies so far, each at its place for good."""
        self._present()
        return list(self._places)

    def _present(self) -> list[Path]:
        """Return the folders of the studies that there are now."""
        with self._lock:
            found = list(self._find())
            for folder in found:
                self._places.setdefault(folder, len(self._places))
            return found

    def _storage(self, folder: Path) -> BaseStorage:
        with self._lock:
            if folder not in self._storages:
                self._storages[folder] = self._open(folder)
            return self._storages[folder]

    def get_all_studies(self) -> list[FrozenStudy]:
        return [study for folder in self._present() for study in self._study(folder)]

    def _study(self, folder: Path) -> Iterator[FrozenStudy]:
        """Yield the study of a folder; nothing if its storage has it no longer.

        It is read by its name: a server has the studies of all folders.
        """
        from optuna.study._frozen import FrozenStudy

        storage, place = self._storage(folder), self._places[folder]
        try:
            own = storage.get_study_id_from_name(folder.name)
        except KeyError:
            return
        yield FrozenStudy(
            study_name=folder.name,
            direction=None,
            directions=storage.get_study_directions(own),
            user_attrs=storage.get_study_user_attrs(own),
            system_attrs=_moved_notes(storage.get_study_system_attrs(own), place),
            study_id=own + place * SPAN,
        )

    def get_study_id_from_name(self, study_name: str) -> int:
        for folder in self._present():
            if folder.name == study_name:
                own = self._storage(folder).get_study_id_from_name(study_name)
                return own + self._places[folder] * SPAN
        raise KeyError(study_name)

    def picture_path(self, path: str) -> str:
        """Return the address here of a picture that a note names; any other address as it is.

        A note has the IDs of its study's own database, and an artifact that names the study.
        """
        match = _PICTURE.fullmatch(path)
        if match is None:
            return path
        name = study_of_artifact(match[3])
        for folder in self.folders:
            if folder.name == name:
                place = self._places[folder]
                study, trial = (int(each) + place * SPAN for each in match.group(1, 2))
                return f"/artifacts/{study}/{trial}/{place}-{match[3]}"
        return path

    def get_study_name_from_id(self, study_id: int) -> str:
        storage, own, _ = self._at(study_id)
        return storage.get_study_name_from_id(own)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        storage, own, _ = self._at(study_id)
        return storage.get_study_directions(own)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        storage, own, _ = self._at(study_id)
        return storage.get_study_user_attrs(own)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        storage, own, place = self._at(study_id)
        return _moved_notes(storage.get_study_system_attrs(own), place)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        storage, own, place = self._at(study_id)
        storage.set_study_system_attr(own, _moved(key, -place), value)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        storage, own, place = self._at(trial_id)
        return _moved_trial(storage.get_trial(own), place)

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        storage, own, place = self._at(study_id)
        found = storage.get_trial_id_from_study_id_trial_number(own, trial_number)
        return found + place * SPAN

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        storage, own, place = self._at(study_id)
        trials = storage.get_all_trials(own, deepcopy=deepcopy, states=states)
        return [_moved_trial(trial, place) for trial in trials]

    def create_new_study(self, *_: Any, **__: Any) -> NoReturn:
        _refuse()

    def delete_study(self, *_: Any, **__: Any) -> NoReturn:
        _refuse()

    def set_study_user_attr(self, *_: Any, **__: Any) -> NoReturn:
        _refuse()

    def create_new_trial(self, *_: Any, **__: Any) -> NoReturn:
        _refuse()

    def set_trial_param(self, *_: Any, **__: Any) -> NoReturn:
        _refuse()

    def set_trial_state_values(self, *_: Any, **__: Any) -> NoReturn:
        _refuse()

    def set_trial_intermediate_value(self, *_: Any, **__: Any) -> NoReturn:
        _refuse()

    def set_trial_user_attr(self, *_: Any, **__: Any) -> NoReturn:
        _refuse()

    def set_trial_system_attr(self, *_: Any, **__: Any) -> NoReturn:
        _refuse()

    def _at(self, moved_id: int) -> tuple[BaseStorage, int, int]:
        """Return the storage of a study or trial, its ID there, and the place of the storage."""
        place, own = divmod(moved_id, SPAN)
        if place >= len(self._places):
            self._present()  # not each time: it reads every study, and a page asks often
        folders = list(self._places)
        if not 0 <= place < len(folders):
            raise KeyError(moved_id)
        return self._storage(folders[place]), own, place


class ArtifactsTogether:
    """The artifacts of several studies."""

    def __init__(
        self, together: Together, open_one: Callable[[Path], Callable[[str], BinaryIO]]
    ) -> None:
        """Open the artifacts.

        Args:
            together: The studies.
            open_one: Returns what opens an artifact of the study in a folder by its ID.

        """
        self._together, self._open = together, open_one

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Return the content; raise ArtifactNotFound if there is none."""
        from optuna.artifacts.exceptions import ArtifactNotFound

        place, _, own = artifact_id.partition("-")
        folders = self._together.folders
        if not place.isdecimal() or int(place) >= len(folders):
            raise ArtifactNotFound(artifact_id)
        return self._open(folders[int(place)])(own)

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Refuse: only trials have artifacts."""
        _refuse()

    def remove(self, artifact_id: str) -> None:
        """Refuse: what a trial has stays."""
        _refuse()


def _refuse() -> NoReturn:
    raise PermissionError("this storage is read-only")


def _moved(key: str, places: int) -> str:
    """Return the name of a trial's note with the trial's ID moved; any other name as it is.

    >>> _moved("dashboard:7:note_ver", 2), _moved("dashboard:note_ver", 2)
    ('dashboard:2000000007:note_ver', 'dashboard:note_ver')
    """
    match = _NOTE.fullmatch(key)
    return f"{match[1]}{int(match[2]) + places * SPAN}{match[3]}" if match else key


def _moved_notes(attributes: dict[str, Any], place: int) -> dict[str, Any]:
    return {_moved(key, place): value for key, value in attributes.items()}


def _moved_trial(trial: FrozenTrial, place: int) -> FrozenTrial:
    moved = copy.copy(trial)
    moved._trial_id += place * SPAN
    moved.system_attrs = dict(
        _moved_artifact(key, value, place) for key, value in trial.system_attrs.items()
    )
    return moved


def _moved_artifact(key: str, value: Any, place: int) -> tuple[str, Any]:
    if not key.startswith(_ARTIFACT):
        return key, value
    found = json.loads(value)
    name = f"{place}-{found['artifact_id']}"
    return f"{_ARTIFACT}{name}", json.dumps({**found, "artifact_id": name})
