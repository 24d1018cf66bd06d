"""Excel's .xlsx: the rows of the first sheet that has any, as text like in CSV."""

from __future__ import annotations

import datetime
import io
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_modules.error import DataError, Problem, Verbatim, reason_of

MAX_SIZE = 2 * 2**30
"""Bytes that a workbook may unpack to."""

_BROKEN = (  # openpyxl has no error of its own for a broken workbook
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


def read_sheet(path: Path, content: bytes) -> tuple[list[list[str]], list[int], tuple[str, ...]]:
    """Return the cells of each row, the row's number, and what was left out.

    Raises:
        DataError: It is no workbook, or it has a password.

    """
    if content.startswith(b"\xd0\xcf\x11\xe0"):
        got = Verbatim("a file with a password, or of an old Excel")
        fix = "Save it as .xlsx without a password, or as CSV."
        raise DataError(Problem(str(path), "must be an .xlsx workbook", got, fix))
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(each.file_size for each in archive.infolist())
        if size > max(MAX_SIZE // 8, min(MAX_SIZE, 100 * len(content))):
            rule = "must not unpack to far more than its size"
            got = Verbatim(f"{size / 2**20:,.0f} MiB")
            raise DataError(Problem(str(path), rule, got, "Save it as CSV."))
        return _read(path, content)
    except _BROKEN as error:
        rule, fix = "must be an .xlsx workbook", "Save it again, or as CSV."
        raise DataError(Problem(str(path), rule, reason_of(error), fix)) from None


def _read(path: Path, content: bytes) -> tuple[list[list[str]], list[int], tuple[str, ...]]:
    import openpyxl

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and validations, which no row has
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        filled: list[tuple[str, list[list[str]], list[int]]] = []
        for sheet in book.worksheets:
            numbered = [(line, cells) for line, cells in _rows(sheet) if any(map(str.strip, cells))]
            if numbered:
                lines, rows = (list(each) for each in zip(*numbered, strict=True))
                filled.append((sheet.title, rows, lines))
        book.close()
    if not filled:
        return [], [], ()
    title, rows, lines = filled[0]
    others = ", ".join(name for name, *_ in filled[1:])
    notes = (f"{path}: read sheet {title}, not {others}",) if others else ()
    return rows, lines, notes


def _rows(sheet: Any) -> Iterator[tuple[int, list[str]]]:
    sheet.reset_dimensions()  # programs write wrong ones, which would cut rows off
    for line, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
        yield line, [_text(cell) for cell in cells]


def _text(cell: Any) -> str:
    """Return a cell as Excel's CSV has it."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime.datetime) and cell.time() == datetime.time():
        return cell.date().isoformat()
    return str(cell)
