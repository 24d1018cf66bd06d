"""Any model from the hub or a local folder: `model=hub model.path=NAME_OR_FOLDER`.

Only safetensors are read. Code that comes with a model runs only from a folder, and only if
`model.trust_remote_code=true` was typed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from lightning_modules.error import ConfigError, Problem
from lightning_modules.machine.hub.local import is_commit
from lightning_modules.machine.hub.snapshot import Snapshot, find_snapshot
from lightning_modules.machine.hub.wanted import HubError, Wanted
from lightning_modules.machine.path import is_path, typed_path
from lightning_modules.model.based import base_folder
from lightning_modules.model.files.folder import ModelFolder
from lightning_modules.model.files.trust import KEY
from lightning_modules.model.pretrained import Pretrained


@dataclass(frozen=True, kw_only=True)
class Hub(Pretrained):
    """A model by name or folder.

    Attributes:
        path: A hub name (`owner/name`) or a folder with `config.json` and safetensors.
        revision: A branch, a tag or a commit of the hub; None takes the newest commit of `main`.
            Studies and runs store the commit that they began with.
        trust_remote_code: Whether code in the folder runs. It must be typed on the command line.

    """

    path: str | None
    revision: str | None
    trust_remote_code: bool = False

    def problems(self) -> Iterator[Problem]:
        if not self.path:
            fix = "Set model.path=distilbert/distilbert-base-uncased or model.path=./folder."
            yield Problem("path", "must be a hub name or a folder", self.path, fix)

    @property
    def name(self) -> str:
        return self.location()

    @property
    def runs_code(self) -> bool:
        return self.trust_remote_code

    @property
    def hub_name(self) -> str | None:
        return None if Path(self.location()).is_dir() else self.path

    def location(self) -> str:
        assert self.path is not None
        folder = typed_path(self.path)
        return str(folder) if folder.is_dir() else self.path

    def snapshot(self) -> Snapshot | None:
        if not self._is_on_hub:
            return None
        assert self.path is not None
        instead = "give a folder, or set model=minilm"
        return find_snapshot(Wanted("model.path", "model", self.path, self.revision, instead))

    def pinned(self) -> Self:
        if not self._is_on_hub or is_commit(self.revision):
            return self
        with suppress(HubError):  # `check` reports it
            snapshot = self.snapshot()
            assert snapshot is not None
            return replace(self, revision=snapshot.commit)
        return self

    @property
    def commit(self) -> str | None:
        return self.revision if self._is_on_hub and is_commit(self.revision) else None

    def look_up(self) -> None:
        with suppress(ConfigError):
            if self._is_on_hub:
                self.check()

    def check(self) -> None:
        assert self.path is not None
        folder = typed_path(self.path)
        if self.trust_remote_code and self._is_on_hub:
            rule = "must be false for a name of the hub, where code may change"
            fix = f"Read its code, and name the folder: hf download {self.path} --local-dir DIR."
            raise ConfigError(Problem(KEY, rule, True, fix))
        if folder.is_dir():
            self._check_folder(folder)
        elif (snapshot := self.snapshot()) is None:
            raise ConfigError(Problem("model.path", "must be a folder", self.path))
        else:
            snapshot.check(weights=False)

    def check_weights(self) -> None:
        assert self.path is not None
        folder = typed_path(self.path)
        if (snapshot := self.snapshot()) is not None:
            snapshot.check(weights=True)
        elif folder.is_dir():
            super().folder(weights=True).check_weights()  # downloads no base

    def files(self, *, weights: bool) -> str:
        snapshot = self.snapshot()
        return self.location() if snapshot is None else str(snapshot.fetch(weights=weights))

    @property
    def where(self) -> str:
        return "model.path"

    def folder(self, *, weights: bool) -> ModelFolder:
        found = super().folder(weights=weights)
        based_on = found.based_on() if weights else None
        return found if based_on is None else replace(found, base=base_folder(*based_on))

    def _revision(self) -> str | None:
        return self.revision

    @property
    def _is_on_hub(self) -> bool:
        path = str(self.path)
        return not typed_path(path).is_dir() and not is_path(path)

    def _check_folder(self, folder: Path) -> None:
        if not (folder / "config.json").is_file():
            fix = "Save a model there with save_pretrained."
            if (folder / "adapter_config.json").is_file():
                fix = "It is an adapter: choose its base model, which adapter_config.json names."
            rule = "must be a folder with config.json"
            raise ConfigError(Problem("model.path", rule, self.path, fix))
        if self.revision is not None:
            rule, fix = "must be null for a folder", "Remove it."
            raise ConfigError(Problem("model.revision", rule, self.revision, fix))
        self.folder(weights=False).check()

    def check_tokenizer(self) -> None:
        assert self.path is not None
        folder = typed_path(self.path)
        if folder.is_dir() and (folder / "config.json").is_file():
            self.folder(weights=False).check_tokenizer()
