"""Data sets from the hub or from a local folder: `data=hub data.path=NAME_OR_FOLDER`.

A data set is downloaded once. Later runs read finesweep's cache, so that a study's rows stay the
same and no network is needed. Code that comes with a data set is never run.
Example: `data=sst2` or `data=hub data.path=owner/name data.text=sentence`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.data.instruction import form_columns
from lightning_modules.data.table import Table, raise_first
from lightning_modules.data.tabular import Tabular
from lightning_modules.error import ConfigError, DataError, Problem, UserError, reason_of
from lightning_modules.machine.hub.ask import asking_hub, hub_seconds, within
from lightning_modules.machine.hub.refusal import meaning_of
from lightning_modules.machine.hub.wanted import HubError, Wanted
from lightning_modules.machine.path import is_path, typed_path
from lightning_modules.machine.store import HUB, cache_folder, check_cache, save_once
from lightning_modules.rows.corpus import SPLITS

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from huggingface_hub import DatasetInfo

    from lightning_modules.task.base import Task

AUTO = "auto"
VALIDATION, TEST = "validation", "test"
OWN_NAMES = {VALIDATION: ("validation", "valid", "val", "dev"), TEST: ("test",)}
"""What data sets call their splits."""
NO_LABEL = -1
"""The label of rows whose labels are kept secret, e.g. GLUE's test rows."""


@dataclass(frozen=True, kw_only=True)
class HubData(Tabular):
    """Rows of a data set; `train`, `validation` and `test` are the names of its splits.

    `auto` for `validation` and `test` takes the data set's own split, if it has one with labels;
    else rows are taken from train, as for None.

    Attributes:
        path: A hub name (`owner/name`), or a folder whose files are named by split, or that
            `datasets` saved.
        revision: A branch, a tag or a commit of the hub; None takes the newest commit of `main`
            when it is downloaded, and what was downloaded stays.
        subset: The data set's configuration; None for the only or default one.

    """

    path: str | None
    revision: str | None
    subset: str | None

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        if not self.path:
            fix = "Set data.path=owner/name or data.path=./folder."
            yield Problem("path", "must be a hub name or a folder", self.path, fix)
        if self.train is None:
            yield Problem("train", "must be the name of a split", None, "Set data.train=train.")

    def opener(self, task: Task) -> Callable[[str, Any], list[Table]]:
        splits = self._splits

        def read(split: str, name: str) -> list[Table]:
            return [self._table(splits[name], split, name, task)]

        return read

    @property
    def draws_validation(self) -> bool:
        if self.validation != AUTO or not (self._is_folder or self._kept.is_dir()):
            return self.validation in (None, AUTO)  # nothing is downloaded for this
        try:
            return self._own(VALIDATION) is None
        except UserError:
            return True  # `load` reports it

    @property
    def _is_folder(self) -> bool:
        return typed_path(str(self.path)).is_dir()

    @property
    def has_test(self) -> bool:
        return self.test not in (None, AUTO) or self.test_fraction > 0

    def places(self) -> Iterator[tuple[str, str]]:
        for split, name in super().places():
            own = self._own(split) if name == AUTO else name
            if own is not None:
                yield split, own

    def _own(self, split: str) -> str | None:
        """Return the data set's own split that serves as one; None if it has none with labels."""
        names = [name for name in OWN_NAMES[split] if name in self._splits]
        return next((name for name in names if self._has_labels(self._splits[name])), None)

    def _has_labels(self, dataset: Dataset) -> bool:
        if self.label is None:
            return True
        if self.label not in dataset.column_names:
            return self.label not in self._splits[str(self.train)].column_names
        feature = dataset.features[self.label]
        is_class = getattr(feature, "names", None) is not None
        return not is_class or any(number != NO_LABEL for number in dataset[self.label])

    @cached_property
    def _splits(self) -> DatasetDict:
        """Only the splits that are configured, or that may be used."""
        with _no_progress_bars():
            return self._found()

    def _found(self) -> DatasetDict:
        assert self.path is not None
        folder = typed_path(self.path)
        if folder.is_dir():
            if self.revision is not None:
                rule, fix = "must be null for a folder", "Remove it."
                raise ConfigError(Problem("data.revision", rule, self.revision, fix))
            return self._loaded(str(folder))
        if is_path(self.path):
            raise ConfigError(Problem("data.path", "must be a folder", self.path))
        return self._fetched(self.path)

    def pending(self) -> str | None:
        from huggingface_hub import is_offline_mode

        path = str(self.path)
        is_local = typed_path(path).is_dir() or is_path(path)
        if is_local or self._kept.is_dir() or is_offline_mode():
            return None
        try:
            with asking_hub(self._wanted):
                info = self._ask()
        except HubError:
            return None  # `load` reports it
        num_bytes = sum(each.size or 0 for each in info.siblings or ())
        return f"data set {path} (at most {num_bytes / 1e6:,.1f} MB)"

    def _fetched(self, name: str) -> DatasetDict:
        from datasets import DatasetDict
        from huggingface_hub import is_offline_mode

        if not self._kept.is_dir():
            check_cache(HUB)
            with asking_hub(self._wanted):
                # Reports what is wrong at once; `datasets` would retry for a long time.
                commit = None if is_offline_mode() else self._checked_commit(name)
                found = self._loaded(name, commit, self._wanted)
            save_once(found, self._kept)
        return DatasetDict.load_from_disk(str(self._kept))

    def _checked_commit(self, name: str) -> str | None:
        """Return the commit of the data set; raises what the hub's client raises."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        info = self._ask()
        if info.gated and info.siblings:
            # All see what a gated data set has, and some get it; `datasets` hides why.
            file = info.siblings[0].rfilename
            url = hf_hub_url(name, file, repo_type="dataset", revision=info.sha)
            within(hub_seconds(), partial(get_hf_file_metadata, url))
        return info.sha

    def _ask(self) -> DatasetInfo:
        from huggingface_hub import HfApi

        ask = partial(HfApi().dataset_info, str(self.path), revision=self.revision)
        return within(hub_seconds(), partial(ask, files_metadata=True, timeout=hub_seconds()))

    @property
    def _kept(self) -> Path:
        """Where the rows stay after they have been downloaded."""
        revision = [] if self.revision is None else [self.revision]
        key = json.dumps([self.path, self.subset, sorted(self._names), *revision])
        return cache_folder() / HUB / hashlib.sha256(key.encode()).hexdigest()[:32]

    @property
    def _wanted(self) -> Wanted:
        return Wanted("data.path", "data set", str(self.path), self.revision)

    @property
    def _names(self) -> set[str]:
        return {name for name in (self.train, self.validation, self.test) if name is not None}

    def _used(self, found: DatasetDict) -> list[str]:
        """Return the names of the splits that are configured, or that may be used."""
        used = self._names - {AUTO}
        for split in (VALIDATION, TEST):
            if getattr(self, split) == AUTO:
                used.update(name for name in OWN_NAMES[split] if name in found)
        return sorted(used)

    def _loaded(
        self, path: str, commit: str | None = None, wanted: Wanted | None = None
    ) -> DatasetDict:
        from datasets import Dataset, DatasetDict, load_dataset
        from datasets.exceptions import DatasetsError

        try:
            if (Path(path) / "dataset_dict.json").is_file():
                found = DatasetDict.load_from_disk(path)
            elif (Path(path) / "state.json").is_file():
                found = DatasetDict({str(self.train): Dataset.load_from_disk(path)})
            else:
                found = load_dataset(path, name=self.subset, revision=commit)
        except (DatasetsError, OSError, RuntimeError) as error:
            meant = None if wanted is None else meaning_of(error, wanted)
            if meant is not None:
                raise meant from error
            raise DataError(self._unreadable(error)) from error
        except ValueError as error:
            raise ConfigError(self._refused(path, error)) from error
        problems = [
            Problem(
                f"data.{split}",
                f"must be a split of {self.path}",
                getattr(self, split),
                f"Use one of: {', '.join(found)}.",
            )
            for split in SPLITS
            if getattr(self, split) not in (None, AUTO, *found)
        ]
        if problems:
            raise ConfigError(problems)
        return DatasetDict({name: found[name] for name in self._used(found)})

    def _refused(self, path: str, error: ValueError) -> Problem:
        from datasets import get_dataset_config_names

        if "onfig" not in str(error):  # BuilderConfig not found, or config name is missing
            return self._unreadable(error)
        fix = f"Use one of: {', '.join(get_dataset_config_names(path))}."
        return Problem("data.subset", f"must be a subset of {self.path}", self.subset, fix)

    def _unreadable(self, error: Exception) -> Problem:
        return Problem("data.path", f"{self.path} must be readable", reason_of(error))

    def _table(self, dataset: Dataset, split: str, name: str, task: Task) -> Table:
        place = Path(f"{self.path}/{name}")
        known = {*self.wanted(task), *form_columns(task)}
        wanted = [each for each in dataset.column_names if each in known]
        columns = dataset.select_columns(wanted).to_dict()
        feature = dataset.features.get(self.label)
        # For lists of labels, e.g. one per word, the names belong to the list's elements.
        names = getattr(getattr(feature, "feature", feature), "names", None)
        if names is not None and self.label in columns:
            columns[self.label] = self._named(columns[self.label], names, split, place)
        cells = zip(*columns.values(), strict=True)
        rows = [dict(zip(columns, row, strict=True)) for row in cells]
        numbers = range(1, len(rows) + 1)
        notes = self._own_notes(split, name)
        return Table(place, dataset.column_names, rows, numbers, notes=notes)

    def _own_notes(self, split: str, name: str) -> tuple[str, ...]:
        """Return what is said of the choice of a data set's own splits."""
        if split != "train":
            is_own = getattr(self, split) == AUTO
            return (f"{self.path}: its own split {name} is the {split} split",) if is_own else ()
        unlabelled = [
            each
            for other in (VALIDATION, TEST)
            if getattr(self, other) == AUTO and self._own(other) is None
            for each in OWN_NAMES[other]
            if each in self._splits
        ]
        return tuple(f"{self.path}: its split {each} has no labels" for each in unlabelled)

    def _named(self, cells: list[Any], names: list[str], split: str, place: Path) -> list[Any]:
        """Return the labels' names; refuse numbers that are not the number of a label."""
        fix = "Remove the row."
        if split != "train":
            fix = f"If the split has no labels, set data.{split}=null to take rows from train."
        problems = [
            Problem(f"{place}:{row}:{self.label}", "must have a label", number, fix)
            for row, each in enumerate(cells, start=1)
            for number in (each if isinstance(each, list) else [each])
            if number is not None and not 0 <= number < len(names)
        ]
        raise_first(problems)
        named: dict[int | None, str | None] = {None: None, **dict(enumerate(names))}
        return [
            [named[number] for number in each] if isinstance(each, list) else named[each]
            for each in cells
        ]


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    import datasets
    from huggingface_hub import utils

    libraries: tuple[Any, ...] = (datasets, utils)
    enabled = [library for library in libraries if not library.are_progress_bars_disabled()]
    for library in enabled:
        library.disable_progress_bars()
    try:
        yield
    finally:
        for library in enabled:
            library.enable_progress_bars()
