"""Predictions as a file: JSONL, CSV or Parquet, by its ending; complete or not there at all.

JSONL and Parquet keep the types of cells. In CSV a cell that is neither text nor a number is JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_modules.error import ConfigError, Problem
from lightning_modules.machine.file import replacing

Cells = Mapping[str, Any]

SCORES = "scores"
JSONL, CSV, PARQUET = ".jsonl", ".csv", ".parquet"


def check_ending(output: Path) -> None:
    """Raise ConfigError unless predictions can be written to a file of that name."""
    if output.suffix.lower() not in _WRITERS:
        fix = f"Set output={output.with_suffix(JSONL)}."
        rule = "must end with .jsonl, .csv or .parquet"
        raise ConfigError(Problem("output", rule, str(output), fix))


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
    with draft.open("w", encoding="utf-8") as file:
        for record in records:
            cells = {name: _json_cell(cell) for name, cell in record.items()}
            file.write(json.dumps(cells, ensure_ascii=False, default=str) + "\n")


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
        if not _is_empty_struct(column.type):
            return column
    except (pyarrow.ArrowException, OverflowError):
        pass
    return pyarrow.array([None if cell is None else _as_json(cell) for cell in cells])


def _is_empty_struct(kind: Any) -> bool:
    import pyarrow

    if pyarrow.types.is_list(kind):
        return _is_empty_struct(kind.value_type)
    return bool(pyarrow.types.is_struct(kind) and kind.num_fields == 0)


def _json_cell(cell: Any) -> Any:
    # JSON has no NaN; a Parquet file may.
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def _as_json(cell: Any) -> str:
    return json.dumps(_json_cell(cell), ensure_ascii=False, default=str)


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
