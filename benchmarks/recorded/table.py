"""The tables of recorded runs: written from the files of runs, and read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from recorded.answer import restored
from recorded.job import families
from recorded.text import Place, pool, true_lines

if TYPE_CHECKING:
    import pandas

RECORDS = Path(__file__).resolve().parents[1] / "records"
TABLES = ("runs", "validations", "truth", "rows")


@dataclass(frozen=True)
class Records:
    """The tables as data frames, their bytes as arrays; records/README.md has the columns."""

    runs: pandas.DataFrame
    validations: pandas.DataFrame
    truth: pandas.DataFrame
    rows: pandas.DataFrame

    def labels(self, text: str, num_rows: int, split: str) -> np.ndarray:
        """Return the class of each row of a split, or of the `truth`."""
        rows = self.rows
        chosen = (rows["text"] == text) & (rows["num_rows"] == num_rows) & (rows["split"] == split)
        (labels,) = rows.loc[chosen, "labels"]
        found: np.ndarray = labels
        return found


def load_records(folder: Path = RECORDS) -> Records:
    """Read the tables."""
    import pandas

    frames = {name: pandas.read_parquet(folder / f"{name}.parquet") for name in TABLES}
    runs, validations = frames["runs"], frames["validations"]
    num_rows = dict(zip(runs["run"], runs["num_validation"], strict=True))
    validations["logits"] = [
        np.frombuffer(each, np.float16).reshape(num_rows[run], -1)
        for run, each in zip(validations["run"], validations["logits"], strict=True)
    ]
    truth, rows = frames["truth"], frames["rows"]
    num_classes = {run: logits.shape[1] for run, logits in _firsts(validations)}
    truth["log_probabilities"] = [
        restored(np.frombuffer(each, np.uint8).reshape(-1, num_classes[run]))
        for run, each in zip(truth["run"], truth["log_probabilities"], strict=True)
    ]
    rows["labels"] = rows["labels"].map(partial(np.frombuffer, dtype=np.uint8))
    return Records(**frames)


def _firsts(validations: pandas.DataFrame) -> Iterator[tuple[int, np.ndarray]]:
    firsts = validations.drop_duplicates("run")
    return zip(firsts["run"], firsts["logits"], strict=True)


def pack(place: Place, folder: Path) -> None:
    """Join the runs that are there, and write the tables."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    files = set()
    for family in families():
        for epochs in family.lengths:
            path = place.run_file(family.run_name(epochs))
            if path.is_file():
                files.add((family.text, family.num_rows))
                for name, records in _unpacked(len(tables["runs"]), path).items():
                    tables[name].extend(records)
    for text, num_rows in sorted(files):
        tables["rows"].extend(_rows(text, num_rows, place))
    folder.mkdir(parents=True, exist_ok=True)
    for name, records in tables.items():
        # Runs of a family share their beginning: a large dictionary keeps equal bytes once.
        pq.write_table(
            pa.Table.from_pylist(records),
            folder / f"{name}.parquet",
            compression="zstd",
            compression_level=19,
            use_dictionary=True,
            dictionary_pagesize_limit=1 << 28,
        )


def _unpacked(number: int, path: Path) -> Mapping[str, list[dict[str, Any]]]:
    """Return the records of each table that a run has."""
    with np.load(path) as arrays:
        values = json.loads(str(arrays["values"]))
        logits, numbers, answers = arrays["logits"], arrays["numbers"].tolist(), arrays["answers"]
    validations = [
        {"run": number, **each, "logits": own.tobytes()}
        for each, own in zip(values["validations"], logits, strict=True)
    ]
    truth = [
        {"run": number, "number": each, "log_probabilities": own.tobytes()}
        for each, own in zip(numbers, answers, strict=True)
    ]
    run = {"run": number, **values["run"]}
    return {"runs": [run], "validations": validations, "truth": truth}


def _rows(text: str, num_rows: int, place: Place) -> Iterator[dict[str, Any]]:
    """Yield what the table of rows has of a user's file: its splits, and the truth."""
    from recorded.train import rows_of, run_of

    family = next(each for each in families() if (each.text, each.num_rows) == (text, num_rows))
    checked = rows_of(run_of(family, family.lengths[0], place))
    lines = {line.text: line for line in pool(text, place.data)}
    splits = {
        split: [lines[row["text"]] for row in rows] for split, rows in checked.corpus.splits.items()
    }
    number = {label: index for index, label in enumerate(checked.labels)}
    for split, chosen in {**splits, "truth": list(true_lines(text, place.data))}.items():
        yield {
            "text": text,
            "num_rows": num_rows,
            "split": split,
            "classes": list(checked.labels),
            "labels": bytes(number[line.label] for line in chosen),
            "lines": [line.number for line in chosen],
        }
