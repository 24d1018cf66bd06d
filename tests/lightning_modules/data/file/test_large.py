"""Large files row by row: the same tables as read whole, and what is not usual is read whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.data.file import large
from lightning_modules.data.file.form import Form
from lightning_modules.data.read import Wanted, read_table
from lightning_modules.data.table import Table
from lightning_modules.error import DataError, UserError

WANTED = Wanted(("text", "label"))
USUAL = {
    "a.jsonl": '{"text": "Größe 😀", "label": 1}\n\n{"label": 2.5, "b": {"c": 1.0}}',
    "b.jsonl": '{"text": "one\\u2028line \u2028", "label": "a"}\r\n  \n{"label": "b"}\n',
    "c.ndjson": '{"text": "half \\ud83d", "label": "a"}\n',
    "a.csv": "text,label\none,a\ntwo,b\n",
    "b.csv": 'text,label\r\n"one, ""two"", 3\nfour",a\r\n\r\n don\'t,b\r\nit\'s,b\r\n',
    "c.csv": "text,label\n1.0,4\ntext,5\n",
    "d.csv": "4,a\nfine,b\ngood,a\n",
    "e.csv": "text;label\none, two;a\nthree;b\n",
    "f.csv": 'text,label\n"one",a\ntwo,b\n',
    "a.tsv": "text\tlabel\nit's one\ta\ntwo\tb\n",
}
UNUSUAL = {
    "broken.jsonl": '{"text": "a", "label": 1}\n{"text": \n',
    "twice.jsonl": '{"text": "a", "text": "b"}\n',
    "list.jsonl": '{"text": "a", "label": 1}\n[1]\n',
    "bytes.jsonl": b'{"text": "\xff", "label": 1}\n',
    "nul.jsonl": '{"text": "\0", "label": 1}\n',
    "control.jsonl": '{"text": "\x85 \x93", "label": 1}\n',
    "mark.jsonl": '\ufeff{"text": "a", "label": 1}\n',
    "blank.csv": "\n\n\n",
    "short.csv": "text,label\none\ntwo,b\n",
    "quote.csv": 'text,label\n"one,a\ntwo,b\n',
    "single.csv": "text,label\n'one, two',a\n'three',b\n'four, five',b\n",
    "empty.csv": "text,label\n , \ntwo,b\n",
    "names.csv": "text,text\none,a\n",
    "unnamed.csv": "text,label,\none,a,\n",
    "comment.csv": "# made by hand\ntext,label\none,a\n",
    "sep.csv": "sep=;\ntext;label\none;a\n",
    "title.csv": "My reviews\ntext,label\none,a\n",
    "return.csv": "text,label\none,a\rtwo,b\nthree,c\n",
    "utf16.csv": "text,label\none,a\n".encode("utf-16"),
    "quotes.tsv": 'text\tlabel\n"one\ta\n"two\tb\n',
    "names.tsv": "text\tlabel\n1\tone\ta\n2\ttwo\tb\n",
    "within.tsv": "text\tlabel\n'one'\ta\n'two'\tb\n",
    "escaped.tsv": "text\tlabel\none\\ttwo\ta\n\\N\tb\n",
    "pickle.csv": b"PAR1,label\none,a\n",
}


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def found(path: Path, form: Form) -> Table | list[str]:
    try:
        return read_table(path, "data.train", form, WANTED)
    except UserError as error:
        return [str(problem) for problem in error.problems]


def shown(table: Table | list[str]) -> object:
    if isinstance(table, list):
        return table
    rows, lines = list(table.rows), list(table.lines)
    rest = (table.columns, table.reading, table.notes, dict(table.unusable), table.hint)
    return rows, lines, [list(row) for row in rows], rest


@pytest.fixture
def every_file_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "LARGE_BYTES", 0)
    monkeypatch.setattr(large, "SAMPLE_SIZE", 0)


@pytest.mark.parametrize(
    "form", [Form(), Form(delimiter="ending"), Form(quoting="double")], ids=str
)
@pytest.mark.parametrize("name", [*USUAL, *UNUSUAL])
def test_a_file_is_read_as_if_it_was_small(
    name: str, form: Form, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = write(tmp_path / name, {**USUAL, **UNUSUAL}[name])
    expected = found(path, form)
    request.getfixturevalue("every_file_is_large")
    table = found(path, form)
    assert shown(table) == shown(expected)


@pytest.mark.usefixtures("every_file_is_large")
@pytest.mark.parametrize("name", [*USUAL, *UNUSUAL])
def test_only_usual_files_are_read_row_by_row(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, {**USUAL, **UNUSUAL}[name])
    if name in ("title.csv", "pickle.csv"):  # refused
        return
    table = large.read_large(path, path.suffix, Form(), WANTED.columns)
    assert (table is not None) == (name in USUAL)


@pytest.mark.usefixtures("every_file_is_large")
def test_rows_are_found_by_number(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", USUAL["a.csv"])
    rows = read_table(path, "data.train", Form(), WANTED).rows
    assert rows[0] == {"text": "one", "label": "a"} and rows[-1] == rows[1] == list(rows)[1]
    assert rows[:1] == [rows[0]] and rows[::-1] == [rows[1], rows[0]] and len(rows) == 2
    with pytest.raises(IndexError):
        rows[2]


@pytest.mark.usefixtures("every_file_is_large")
def test_a_file_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", USUAL["a.csv"])
    table = read_table(path, "data.train", Form(), WANTED)
    write(path, "text,label\none,a\n")
    with pytest.raises(DataError, match="must not change while it is read"):
        list(table.rows)
