"""Any model from the hub or a local folder: `model=hub model.path=NAME_OR_FOLDER`.

Only safetensors are read, and code that comes with a model never runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lightning_modules.error import ConfigError, Problem
from lightning_modules.machine.hub import check_reachable, fetch_config
from lightning_modules.model.base import Pretrained


@dataclass(frozen=True, kw_only=True)
class Hub(Pretrained):
    """A model by name or folder.

    Attributes:
        path: A hub name (`owner/name`) or a folder with `config.json` and safetensors.

    """

    path: str | None

    def problems(self) -> Iterator[Problem]:
        if not self.path:
            fix = "Set model.path=distilbert/distilbert-base-uncased or model.path=./folder."
            yield Problem("path", "must be a hub name or a folder", self.path, fix)

    @property
    def name(self) -> str:
        return self.location()

    @property
    def hub_name(self) -> str | None:
        return None if Path(self.location()).is_dir() else self.path

    def location(self) -> str:
        assert self.path is not None
        folder = Path(self.path).expanduser()
        return str(folder) if folder.is_dir() else self.path

    def look_up(self) -> None:
        assert self.path is not None
        if not Path(self.path).expanduser().is_dir() and not self.path.startswith((".", "/", "~")):
            fetch_config(self.path)

    def check(self) -> None:
        assert self.path is not None
        folder = Path(self.path).expanduser()
        if folder.is_dir():
            self._check_folder(folder)
        elif self.path.startswith((".", "/", "~")):
            raise ConfigError(Problem("model.path", "must be a folder", self.path))
        else:
            check_reachable("model.path", self.path)

    def _check_folder(self, folder: Path) -> None:
        if not (folder / "config.json").is_file():
            fix = "Save a model there with save_pretrained."
            rule = "must be a folder with config.json"
            raise ConfigError(Problem("model.path", rule, self.path, fix))
        if not list(folder.glob("*.safetensors")):
            fix = "Save it again with save_pretrained; pickled weights are not accepted."
            rule = "must be a folder with *.safetensors"
            raise ConfigError(Problem("model.path", rule, self.path, fix))
