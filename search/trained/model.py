"""An exported model as an object: predictions and scores."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.model.files.trust import is_code_trusted, trusting
from search.config import take_typed
from search.machine.quiet import quiet_training
from search.trained.ask import Rows, checked_rows
from search.trained.exported import exported_task
from search.trained.score import evaluate_exported

if TYPE_CHECKING:
    from lightning_modules.export.predictor import Predictor


class Model:
    """An exported model.

    Args:
        folder: Its folder.
        config_dir: A folder with more group options, if its task is one of them.

    """

    def __init__(self, folder: Path, config_dir: Path | None = None) -> None:
        from lightning_modules.export.model import read_manifest

        self.folder = folder
        self._manifest = read_manifest(folder)
        self._config_dir = config_dir
        self._is_trusted = is_code_trusted()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of their class numbers; empty if there are no classes."""
        return tuple(self._manifest["labels"])

    def predict(
        self, rows: Rows, *, text: str | None = None, text_pair: str | None = None
    ) -> list[dict[str, Any]]:
        """Return `{"prediction": ...}` for each row, with `scores` if there are classes.

        Arguments and errors are those of `Study.predict`.
        """
        task, columns = self._predictor.task, self._manifest["columns"]
        prompt = self._manifest.get("prompt")
        checked = checked_rows(rows, columns, task, prompt, text=text, text_pair=text_pair)
        return self._predictor.predict(checked)

    def evaluate(self, *overrides: str, split: str = "validation") -> dict[str, float]:
        """Return metrics on a split of other data, e.g. `"data=files"`, `"data.train=new.csv"`."""
        with trusting(self._is_trusted):
            words = take_typed("evaluate", overrides)
            return evaluate_exported(self.folder, split, words, self._config_dir).scores()

    def __repr__(self) -> str:
        return f"<finesweep model in {self.folder}>"

    @cached_property
    def _predictor(self) -> Predictor:
        from lightning_modules.export.model import base_of, load_exported

        with trusting(self._is_trusted):
            task, plugins = exported_task(self.folder, self._config_dir)
            base = base_of(self.folder, plugins)
            quiet_training()
            return load_exported(self.folder, task, base, plugins)
