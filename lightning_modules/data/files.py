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
from lightning_modules.error import ConfigError, DataError, Problem, Verbatim
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
        self._take_missing(splits)
        ordered = {split: splits[split] for split in SPLITS if split in splits}
        return Corpus(ordered, tuple(_notes(ordered)))

    def _take_missing(self, splits: dict[str, Sequence[Row]]) -> None:
        num_rows = len(splits["train"])
        for split in ("test", "validation"):
            fraction: float = getattr(self, f"{split}_fraction")
            if split in splits or fraction == 0:
                continue
            rows = splits["train"]
            share = fraction * num_rows / len(rows)  # of the whole file, whatever was taken before
            splits["train"], splits[split] = split_off(rows, share, self.split_seed, split)
            if not splits[split]:
                rule = f"must have at least two different texts a label to take {split} rows from"
                fix = f"Add rows, or set data.{split}=FILE."
                raise DataError(Problem("data.train", rule, Verbatim(f"{num_rows} rows"), fix))

    def _paths(self) -> Iterator[tuple[str, str]]:
        for split in SPLITS:
            path = getattr(self, split)
            if path is not None:
                yield split, path

    def _read(self, split: str, path: str) -> list[dict[str, str]]:
        table = read_table(Path(path).expanduser(), f"data.{split}")
        keys = {"text": "data.text", "label": "data.label"}
        return table.texts({"text": self.text, "label": self.label}, keys)


def _notes(splits: dict[str, Sequence[Row]]) -> Iterator[str]:
    trained = {normalized(row["text"]) for row in splits["train"]}
    for split in ("validation", "test"):
        leaked = sum(normalized(row["text"]) in trained for row in splits.get(split, ()))
        if leaked:
            rows = "row is" if leaked == 1 else "rows are"
            yield f"{leaked} {split} {rows} in train too: scores flatter that much"
    labels: dict[str, set[str]] = {}
    for rows_of_split in splits.values():
        for row in rows_of_split:
            labels.setdefault(normalized(row["text"]), set()).add(row["label"])
    torn = sum(len(found) > 1 for found in labels.values())
    if torn:
        yield f"{torn} {'text occurs' if torn == 1 else 'texts occur'} with different labels"
