"""Predictions as a file: JSONL, CSV or Parquet, by its ending; complete or not there at all.

JSONL and Parquet keep the types of cells. In CSV a cell that is neither text nor a number is JSON.
JSON has no NaN: it is null there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_modules.data.table import Table, raise_first
from lightning_modules.error import ConfigError, Problem
from lightning_modules.machine.file import replacing
from lightning_modules.rows.cell import HALF_CHARACTER

Cells = Mapping[str, Any]

SCORES = "scores"
JSONL, CSV, PARQUET = ".jsonl", ".csv", ".parquet"


def check_ending(output: Path) -> None:
    """Raise ConfigError unless predictions can be written to a file of that name."""
    if output.suffix.lower() not in _WRITERS:
        fix = f"Set output={output.with_suffix(JSONL)}."
        rule = "must end with .jsonl, .csv or .parquet"
        raise ConfigError(Problem("output", rule, str(output), fix))


def check_cells(table: Table, output: Path) -> None:
    """Raise DataError if a cell of the rows cannot be written to that file: half a character.

    JSON writes it as an escape.
    """
    if output.suffix.lower() == JSONL:
        return
    fix = f"Correct it, or set output={output.with_suffix(JSONL)}, which can hold it."
    raise_first(
        [
            Problem(f"{table.place(number)}:{name}", HALF_CHARACTER.rule, cell, fix)
            for number, row in enumerate(table.rows)
            for name, cell in row.items()
            if not _is_utf8(cell)
        ]
    )


def added_columns(output: Path, decoded: Sequence[str], top: int | None) -> list[str]:
    """Return the columns that the file has besides those of the rows.

    Args:
        output: The file.
        decoded: What a prediction may have.
        top: The number of labels that are written with their probabilities; None writes all.

    """
    if top is None or output.suffix.lower() == JSONL:
        return list(decoded)
    places = [name for n in range(1, top + 1) for name in (f"top{n}", f"top{n}_score")]
    return [*(name for name in decoded if name != SCORES), *places]


def write_predictions(
    output: Path, rows: Sequence[Cells], predictions: Iterable[Cells], top: int | None = None
) -> None:
    """Write each row with its prediction.

    Args:
        output: The file.
        rows: The rows, by column.
        predictions: What each row's prediction adds.
        top: The number of labels to write with their probabilities, the most probable first; in
            CSV and Parquet as columns `top1`, `top1_score` etc.; None writes all in `scores`.

    """
    ending = output.suffix.lower()
    shown = (_of_top(each, top, nested=ending == JSONL) for each in predictions)
    records = ({**row, **each} for row, each in zip(rows, shown, strict=True))
    own = dict.fromkeys(name for row in rows for name in row)  # a row of JSONL may lack some
    with replacing(output) as draft:
        _WRITERS[ending](draft, list(own), records)


def _of_top(prediction: Cells, top: int | None, *, nested: bool) -> Cells:
    if top is None or SCORES not in prediction:
        return prediction
    scores: Mapping[str, float] = prediction[SCORES]
    ranked = sorted(scores.items(), key=lambda pair: -pair[1])[:top]
    if nested:
        return {**prediction, SCORES: dict(ranked)}
    flat = {name: value for name, value in prediction.items() if name != SCORES}
    for place, (label, score) in enumerate(ranked, start=1):
        flat |= {f"top{place}": label, f"top{place}_score": score}
    return flat


def _write_jsonl(draft: Path, _: Sequence[str], records: Iterator[Cells]) -> None:
    # Half a character becomes its escape, as which JSON can hold it.
    with draft.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for record in records:
            file.write(_as_json(dict(record)) + "\n")


def _write_csv(draft: Path, own: Sequence[str], records: Iterator[Cells]) -> None:
    names: list[str] = []
    with draft.open("w", encoding="utf-8", newline="") as file:
        for record in records:
            if not names:
                names = list(dict.fromkeys([*own, *record]))
                file.write(",".join(map(_quoted, names)) + "\n")
            file.write(",".join(_quoted(_csv_cell(record.get(name))) for name in names) + "\n")


def _write_parquet(draft: Path, own: Sequence[str], records: Iterator[Cells]) -> None:
    import pyarrow
    import pyarrow.parquet

    columns: dict[str, list[Any]] = {}
    for record in records:
        if not columns:
            columns = {name: [] for name in (*own, *record)}
        for name, cells in columns.items():
            cells.append(record.get(name))
    arrays = {name: _arrow(cells) for name, cells in columns.items()}
    pyarrow.parquet.write_table(pyarrow.table(arrays), draft)


_WRITERS: Mapping[str, Callable[[Path, Sequence[str], Iterator[Cells]], None]] = {
    JSONL: _write_jsonl,
    CSV: _write_csv,
    PARQUET: _write_parquet,
}


def _arrow(cells: list[Any]) -> Any:
    """Return a column; as JSON if its cells have no common type, or one that Parquet lacks."""
    import pyarrow

    try:
        column = pyarrow.array(cells)
        if not _has_empty_struct(column.type):
            return column
    except (pyarrow.ArrowException, OverflowError):
        pass
    return pyarrow.array([None if cell is None else _as_json(cell) for cell in cells])


def _has_empty_struct(kind: Any) -> bool:
    import pyarrow

    if pyarrow.types.is_list(kind):
        return _has_empty_struct(kind.value_type)
    if not pyarrow.types.is_struct(kind):
        return False
    return kind.num_fields == 0 or any(_has_empty_struct(each.type) for each in kind)


def _is_utf8(cell: Any) -> bool:
    try:
        (cell if isinstance(cell, str) else _as_json(cell)).encode()
    except UnicodeEncodeError:
        return False
    return True


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=str, allow_nan=False)
    except ValueError:  # it has a NaN, e.g. of a Parquet file
        return json.dumps(_finite(value), ensure_ascii=False, default=str)


def _finite(value: Any) -> Any:
    """Return a value with null in place of numbers that JSON lacks."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return list(map(_finite, value))
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _csv_cell(cell: Any) -> str:
    if cell is None or isinstance(cell, str):
        return cell or ""
    if isinstance(cell, bool | int | float | list | dict):
        text = _as_json(cell)
        return "" if text == "null" else text
    return str(cell)


def _quoted(text: str) -> str:
    """Return a cell of CSV; a carriage return alone ends a line for some readers, too."""
    if any(character in text for character in ',"\r\n') or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text
