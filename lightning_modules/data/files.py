"""Your own files: CSV, TSV, JSON, JSONL or Parquet, one a split.

Only `train` is needed: a split without a file is taken from it by chance, stratified by
label, with duplicates kept together.
Example: `data=files data.train=my.csv data.text=review data.label=stars`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_modules.data.base import SPLITS, Corpus, Data, Row
from lightning_modules.data.split import normalized, split_off
from lightning_modules.data.table import read_table
from lightning_modules.error import ConfigError, Problem
from lightning_modules.schema import within


@dataclass(frozen=True, kw_only=True)
class Files(Data):
    """Rows from table files.

    Attributes:
        train: Path of the training file.
        validation: Path of the validation file; None takes rows from train.
        test: Path of the test file; None takes rows from train.
        text: Column with the text.
        label: Column with the label, text or number.
        validation_fraction: Share of the training rows taken where there is no file, in [0, 0.5).
        test_fraction: The same for the test split; 0 means no test split.
        split_seed: Decides which rows are taken.

    """

    train: str | None
    validation: str | None
    test: str | None
    text: str
    label: str
    validation_fraction: float
    test_fraction: float
    split_seed: int

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from within(self, 0, 0.5, "validation_fraction", "test_fraction")
        if self.train is None:
            yield Problem("train", "must be a file", None, "Set data.train=my.csv.")
        if self.validation is None and self.validation_fraction == 0:
            rule = "must be > 0 where data.validation has no file"
            yield Problem("validation_fraction", rule, 0, "Trials are judged by validation.")

    def load(self) -> Corpus:
        splits: dict[str, Sequence[Row]] = {}
        problems: list[Problem] = []
        for split, path in self._paths():
            try:
                splits[split] = self._read(split, path)
            except ConfigError as error:
                problems.extend(error.problems)
        if problems:
            raise ConfigError(problems)
        for split, fraction in (
            ("test", self.test_fraction),
            ("validation", self.validation_fraction),
        ):
            if split not in splits and fraction > 0:
                splits["train"], splits[split] = split_off(
                    splits["train"], fraction, self.split_seed, split
                )
        ordered = {split: splits[split] for split in SPLITS if split in splits}
        return Corpus(ordered, tuple(_leaks(ordered)))

    def _paths(self) -> Iterator[tuple[str, str]]:
        for split in SPLITS:
            path = getattr(self, split)
            if path is not None:
                yield split, path

    def _read(self, split: str, path: str) -> list[dict[str, str]]:
        table = read_table(Path(path).expanduser(), f"data.{split}")
        keys = {"text": "data.text", "label": "data.label"}
        return table.texts({"text": self.text, "label": self.label}, keys)


def _leaks(splits: dict[str, Sequence[Row]]) -> Iterator[str]:
    trained = {normalized(row["text"]) for row in splits["train"]}
    for split in ("validation", "test"):
        leaked = sum(normalized(row["text"]) in trained for row in splits.get(split, ()))
        if leaked:
            rows = "row is" if leaked == 1 else "rows are"
            yield f"{leaked} {split} {rows} in train too: scores flatter that much"
