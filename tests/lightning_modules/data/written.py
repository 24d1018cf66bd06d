"""Random tables, and every way in which a file of them can be written."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import openpyxl
import pyarrow
import pyarrow.feather
import pyarrow.parquet
from hypothesis import strategies as st

from lightning_modules.data.file.form import DELIMITERS, Form

Rows = list[dict[str, str]]

PIECES = st.sampled_from(
    [*"abAB01 .,;|\t\n\"'\\#=é漢🙂\u2028\u00a0", '""', "\r\n", "fine", "ham", "a,b", '"so"']
)
CELLS = st.lists(PIECES, max_size=8).map("".join)
LABELS = st.sampled_from(["ham", "spam", "0", "1.0", "très bien"])
ENDS = ("\n", "\r\n", "\r")
UNICODE = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030")
CODECS = (*UNICODE, "cp1252", "cp932")


@dataclass(frozen=True)
class Written:
    """A file.

    Attributes:
        name: Its name.
        content: Its bytes.
        rows: What is in it: a table's rows, without what the format cannot hold.
        form: What the user says of it.
        is_plain: Whether it can be read in one way only.

    """

    name: str
    content: bytes
    rows: Rows
    form: Form
    is_plain: bool = True


@dataclass(frozen=True)
class Style:
    """Line ends and encoding of a text file."""

    end: str
    codec: str

    def kept(self, cell: str) -> str:
        """Return a cell that the encoding can hold."""
        return cell.encode(self.codec, "replace").decode(self.codec)

    @property
    def encoding(self) -> str:
        """The encoding as the user has to say it; files with a mark say it themselves."""
        return self.codec if self.codec in ("gb18030", "cp1252", "cp932") else "auto"


@st.composite
def tables(draw: st.DrawFn, cells: st.SearchStrategy[str] = CELLS) -> Rows:
    """Return rows with the columns `text`, `label` and up to two others."""
    others = draw(st.lists(st.sampled_from(["id", "notes", "x"]), unique=True, max_size=2))
    columns = draw(st.permutations(["text", "label", *others]))
    num_rows = draw(st.integers(1, 12))
    return [
        {name: draw(LABELS if name == "label" else cells) for name in columns}
        for _ in range(num_rows)
    ]


def styles() -> st.SearchStrategy[Style]:
    """Return line ends and encodings."""
    return st.builds(Style, st.sampled_from(ENDS), st.sampled_from(CODECS))


Writer = Callable[[Rows, Style], Written]


def writers() -> Mapping[str, Writer]:
    """Return the ways by name."""
    found: dict[str, Writer] = {}
    for name in DELIMITERS:
        for quoting in ("double", "single", "escaped"):
            found[f"{name}, {quoting}"] = partial(_delimited, delimiter=name, quoting=quoting)
        found[f"{name}, without names"] = partial(
            _delimited, delimiter=name, quoting="double", has_names=False
        )
        if name != "space":
            found[f"{name}, found"] = partial(
                _delimited, delimiter=name, quoting="double", is_found=True
            )
    for name in ("tab", "pipe", "semicolon"):
        found[f"{name}, no quotes"] = partial(_delimited, delimiter=name, quoting="none")
    found["tab, no quotes, found"] = partial(
        _delimited, delimiter="tab", quoting="none", is_found=True
    )
    found["encoding, found"] = partial(
        _delimited, delimiter="comma", quoting="double", is_found=True, is_codec_found=True
    )
    for ending in (".gz", ".bz2", ".xz", ".zip"):
        found[ending] = partial(_packed, ending=ending)
    return {**found, **_OTHERS}


def _delimited(
    rows: Rows,
    style: Style,
    *,
    delimiter: str,
    quoting: str,
    has_names: bool = True,
    is_found: bool = False,
    is_codec_found: bool = False,
) -> Written:
    character = DELIMITERS[delimiter]
    rows = _mapped(rows, style.kept)
    if quoting == "none":
        rows = _mapped(rows, partial(_of_line, delimiter=character))
    lines = [list(row.values()) for row in rows]
    if has_names:
        lines.insert(0, list(rows[0]))
    text = _text(lines, character, quoting, style.end)
    form = Form(
        delimiter="auto" if is_found else delimiter,
        quoting="auto" if is_found else quoting,
        header="auto" if has_names else "none",
        columns=None if has_names else list(rows[0]),
        encoding="auto" if is_codec_found else style.encoding,
    )
    name = "a.tsv" if delimiter == "tab" else "a.csv"
    return Written(name, text.encode(style.codec), rows, form, is_plain=not is_found)


def _text(lines: Sequence[Sequence[str]], delimiter: str, quoting: str, end: str) -> str:
    if quoting == "none":
        return "".join(delimiter.join(line) + end for line in lines)
    file = io.StringIO(newline="")
    cells = [cell for line in lines for cell in line]
    # The module quotes no carriage return, and no line break but its own.
    has_breaks = any("\r" in cell for cell in cells) or end == "\r"
    writer = csv.writer(
        file,
        delimiter=delimiter,
        quotechar="'" if quoting == "single" else '"',
        doublequote=quoting != "escaped",
        escapechar="\\" if quoting == "escaped" else None,
        lineterminator=end,
        quoting=csv.QUOTE_ALL if has_breaks else csv.QUOTE_MINIMAL,
    )
    writer.writerows(lines)
    return file.getvalue()


def _of_line(cell: str, delimiter: str) -> str:
    """Return a cell that an unquoted file can hold."""
    return cell.replace("\r", "").replace("\n", " ").replace(delimiter, " ")


def _packed(rows: Rows, style: Style, *, ending: str) -> Written:
    plain = _delimited(rows, style, delimiter="comma", quoting="double")
    content = plain.content
    if ending == ".zip":
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(plain.name, content)
        content = file.getvalue()
    else:
        content = _PACKERS[ending](content)
    return Written(f"{plain.name}{ending}", content, plain.rows, plain.form)


_PACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    ".gz": partial(gzip.compress, compresslevel=1),
    ".bz2": partial(bz2.compress, compresslevel=1),
    ".xz": partial(lzma.compress, preset=0),
}


def _jsonl(rows: Rows, style: Style) -> Written:
    rows = _mapped(rows, style.kept)
    end = "\r\n" if style.end == "\r\n" else "\n"
    text = "".join(json.dumps(row, ensure_ascii=False) + end for row in rows)
    return Written("a.jsonl", text.encode(style.codec), rows, Form(encoding=style.encoding))


def _json(rows: Rows, style: Style) -> Written:
    rows = _mapped(rows, style.kept)
    text = json.dumps(rows, ensure_ascii=False, indent=1).replace("\n", style.end)
    return Written("a.json", text.encode(style.codec), rows, Form(encoding=style.encoding))


def _parquet(rows: Rows, _: Style) -> Written:
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return Written("a.parquet", bytes(sink.getvalue()), rows, Form())


def _feather(rows: Rows, _: Style) -> Written:
    file = io.BytesIO()
    pyarrow.feather.write_feather(pyarrow.Table.from_pylist(rows), file)
    return Written("a.feather", file.getvalue(), rows, Form())


def _stream(rows: Rows, _: Style) -> Written:
    table, sink = pyarrow.Table.from_pylist(rows), pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return Written("a.arrow", bytes(sink.getvalue()), rows, Form())


def _sheet(rows: Rows, _: Style) -> Written:
    rows = _mapped(rows, _of_sheet)
    book, file = openpyxl.Workbook(), io.BytesIO()
    for line in [list(rows[0]), *(list(row.values()) for row in rows)]:
        book.active.append(line)
    book.save(file)
    return Written("a.xlsx", file.getvalue(), rows, Form())


def _of_sheet(cell: str) -> str:
    """Return a cell that Excel takes as text as it is."""
    return cell.replace("\r", "").replace("=", "-")  # else it is a formula, or an empty cell


_OTHERS: Mapping[str, Any] = {
    "JSONL": _jsonl,
    "JSON": _json,
    "Parquet": _parquet,
    "Feather": _feather,
    "Arrow stream": _stream,
    "sheet": _sheet,
}


def _mapped(rows: Rows, change: Callable[[str], str]) -> Rows:
    return [{name: change(cell) for name, cell in row.items()} for row in rows]
