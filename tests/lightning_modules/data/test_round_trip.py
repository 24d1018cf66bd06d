"""Random tables through writers, the reader and `predict`: every row is kept.

With a given dialect the rows are the same. With a dialect that is found they are too, or the file
is refused, or it is told that the reading is not the only one.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightning_modules.data.file.form import Form
from lightning_modules.data.read import Wanted, read_table
from lightning_modules.error import DataError
from search.cli import main
from tests.lightning_modules.data.written import (
    CELLS,
    Rows,
    Style,
    Written,
    styles,
    tables,
    writers,
)
from tests.test_kept import KEPT

WRITERS = writers()
EXAMPLES = settings(
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
USED = tables(CELLS.map(lambda cell: cell if cell.strip() else f"so{cell}"))
"""Tables without empty texts, which `predict` refuses."""


def check_read(file: Written) -> None:
    """Check that the reader keeps the rows, or tells that they may be others."""
    Path(file.name).write_bytes(file.content)
    try:
        table = read_table(Path(file.name), "input", file.form, Wanted(("text", "label")))
    except DataError:
        assert not file.is_plain
        return
    is_told = "likely" in table.reading or any("read as" in note for note in table.notes)
    assert list(table.rows) == file.rows or (is_told and not file.is_plain)


def check_predicted(file: Written) -> None:
    """Check that `predict` writes every row, in order."""
    Path(file.name).write_bytes(file.content)
    output = Path("out.jsonl")
    output.unlink(missing_ok=True)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        words = [f"input={file.name}", f"output={output}", *form_words(file.form)]
        assert main(["predict", "model=export", *words]) == 0
    lines = output.read_text(encoding="utf-8").split("\n")[:-1]
    rows = [json.loads(line) for line in lines]
    assert all(row.pop("prediction") in row.pop("scores") for row in rows)
    assert rows == file.rows or (not file.is_plain and "likely" in said.getvalue())


def form_words(form: Form) -> list[str]:
    given = {name: getattr(form, name) for name in ("delimiter", "quoting", "header", "encoding")}
    if form.columns is not None:
        given["columns"] = f"[{','.join(form.columns)}]"
    return [f"{name}={value}" for name, value in given.items() if value != "auto"]


@settings(EXAMPLES, max_examples=300)
@given(tables(), styles(), st.sampled_from(sorted(WRITERS)))
def test_every_row_is_kept(rows: Rows, style: Style, how: str) -> None:
    check_read(WRITERS[how](rows, style))


@pytest.mark.slow
@settings(EXAMPLES, max_examples=2000)
@given(tables(), styles())
def test_every_row_of_many_tables_is_kept_in_every_format(rows: Rows, style: Style) -> None:
    for write in WRITERS.values():
        check_read(write(rows, style))


@pytest.fixture
def export(here: Path) -> None:
    shutil.copytree(KEPT / "export", here / "export")


PREDICTED = st.sampled_from(sorted(name for name in WRITERS if "found" not in name))


@pytest.mark.thorough
@pytest.mark.usefixtures("export")
@settings(EXAMPLES, max_examples=20)
@given(USED, styles(), PREDICTED)
def test_every_row_is_predicted(rows: Rows, style: Style, how: str) -> None:
    check_predicted(WRITERS[how](rows, style))


@pytest.mark.slow
@pytest.mark.usefixtures("export")
@settings(EXAMPLES, max_examples=2000)
@given(USED, styles(), PREDICTED)
def test_every_row_of_many_tables_is_predicted(rows: Rows, style: Style, how: str) -> None:
    check_predicted(WRITERS[how](rows, style))
