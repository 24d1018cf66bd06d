"""Random tables through writers, the reader and what `predict` writes: every row is kept.

With a given dialect the rows are the same. With a dialect that is found they are too, or the file
is refused, or it is told that the reading is not the only one.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightning_modules.data.file.form import DELIMITERS, Form
from lightning_modules.data.read import Wanted, read_table
from lightning_modules.error import DataError
from search.trained.written import write_predictions

Rows = list[dict[str, str]]
WANTED = Wanted(("text", "label"))
EXAMPLES = settings(
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PIECES = st.sampled_from(
    [*"abAB01 .,;|\t\n\"'\\#=é漢🙂\u2028\u00a0", '""', "\r\n", "fine", "ham", "a,b", '"so"']
)
CELLS = st.lists(PIECES, max_size=8).map("".join)
LABELS = st.sampled_from(["ham", "spam", "0", "1.0", "très bien"])


@st.composite
def tables(draw: st.DrawFn) -> Rows:
    others = draw(st.lists(st.sampled_from(["id", "notes", "x"]), unique=True, max_size=2))
    columns = draw(st.permutations(["text", "label", *others]))
    num_rows = draw(st.integers(1, 12))
    return [
        {name: draw(LABELS if name == "label" else CELLS) for name in columns}
        for _ in range(num_rows)
    ]


def delimited(rows: Rows, delimiter: str, *, quote: str | None = '"', end: str = "\n") -> str:
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    if quote is None:
        return "".join(delimiter.join(line) + end for line in lines)
    file = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if any("\r" in cell for line in lines for cell in line) else 0
    writer = csv.writer(
        file,
        delimiter=delimiter,
        quotechar=quote,
        lineterminator=end,
        quoting=quoting,  # type: ignore[arg-type]
    )
    writer.writerows(lines)
    return file.getvalue()


def of_line(cell: str) -> str:
    """Return a cell that an unquoted file can hold."""
    return cell.replace("\r", "").replace("\n", " ").replace("\t", " ")


def of_sheet(cell: str) -> str:
    """Return a cell that Excel takes as text as it is."""
    return cell.replace("\r", "").removeprefix("=").replace("=", "-")


def sheet(rows: Rows) -> bytes:
    book, file = openpyxl.Workbook(), io.BytesIO()
    for line in [list(rows[0]), *(list(row.values()) for row in rows)]:
        book.active.append(line)
    book.save(file)
    return file.getvalue()


def parquet(rows: Rows) -> bytes:
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return bytes(sink.getvalue())


def mapped(rows: Rows, change: Callable[[str], str]) -> Rows:
    return [{name: change(cell) for name, cell in row.items()} for row in rows]


def check(name: str, content: bytes, rows: Rows, form: Form) -> None:
    """Check that the reader and `predict` keep the rows."""
    Path(name).write_bytes(content)
    table = read_table(Path(name), "input", form, WANTED)
    assert list(table.rows) == rows
    output = Path("out.jsonl")
    output.unlink(missing_ok=True)
    write_predictions(output, table.rows, [{"prediction": n} for n in range(len(rows))])
    lines = output.read_text(encoding="utf-8").split("\n")[:-1]
    assert [json.loads(line) for line in lines] == [
        {**row, "prediction": n} for n, row in enumerate(rows)
    ]


def check_told(name: str, content: bytes, rows: Rows) -> None:
    """Check that what is found out is right, or refused, or told to be uncertain."""
    Path(name).write_bytes(content)
    try:
        table = read_table(Path(name), "input", Form(), WANTED)
    except DataError:
        return
    assert list(table.rows) == rows or "likely" in table.reading


def check_all(rows: Rows, end: str, encoding: str) -> None:
    for name, delimiter in DELIMITERS.items():
        content = delimited(rows, delimiter, end=end).encode(encoding)
        check("a.csv", content, rows, Form(name, "double"))
        if name != "space":
            check_told("a.csv", content, rows)
        single = delimited(rows, delimiter, quote="'", end=end).encode(encoding)
        check("a.csv", single, rows, Form(name, "single"))
    content = delimited(rows, "\t", end=end).encode(encoding)
    check_told("a.tsv", content, rows)
    check("a.tsv.gz", gzip.compress(content, 1), rows, Form("tab", "double"))
    plain = mapped(rows, of_line)
    content = delimited(plain, "\t", quote=None, end=end).encode(encoding)
    check("a.tsv", content, plain, Form("tab", "none"))
    check_told("a.tsv", content, plain)
    objects: Any = [json.dumps(row, ensure_ascii=False) for row in rows]
    check("a.jsonl", (end.join(objects) + end).encode(encoding), rows, Form())
    check("a.json", f"[{', '.join(objects)}]".encode(encoding), rows, Form())
    check("a.parquet", parquet(rows), rows, Form())
    cells = mapped(rows, of_sheet)
    check("a.xlsx", sheet(cells), cells, Form())


@settings(EXAMPLES, max_examples=25)
@given(tables(), st.sampled_from(["\n", "\r\n"]), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_every_row_is_kept(rows: Rows, end: str, encoding: str) -> None:
    check_all(rows, end, encoding)


@pytest.mark.slow
@settings(EXAMPLES, max_examples=2000)
@given(tables(), st.sampled_from(["\n", "\r\n"]), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_every_row_of_many_tables_is_kept(rows: Rows, end: str, encoding: str) -> None:
    check_all(rows, end, encoding)
