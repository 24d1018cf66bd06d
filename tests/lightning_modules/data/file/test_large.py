"""Large files row by row: the same tables as read whole, and what is not usual is read whole."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile
from decimal import Decimal
from pathlib import Path

import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightning_modules.data.file import arrow, container, large
from lightning_modules.data.file.container import source_of
from lightning_modules.data.file.form import Form
from lightning_modules.data.read import Wanted, read_table
from lightning_modules.data.table import Table
from lightning_modules.error import DataError, UserError
from lightning_modules.rows import cell
from tests.lightning_modules.data.written import Rows, Style, styles, tables, writers
from tests.shared import DATA, needs

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


WRITERS = writers()
EXAMPLES = settings(
    deadline=None,
    database=None,
    derandomize=True,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
FORMS = st.sampled_from(
    [Form(), Form(delimiter="ending"), Form(delimiter="semicolon"), Form(quoting="none")]
)
CELLS = st.sampled_from(["text", "a", "4", "1.0", "é", "it's", "'a'", "", " "]) | st.sampled_from(
    [
        '"a"',
        '"a, b"',
        '"a\nb"',
        '"a ""b"""',
        'a"b',
        '"',
        "\\N",
        "\\t",
        "#a",
        *"\r\0\x85\x93\u2028\ufeff",
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([0, 1, -1, 10**30, 0.0, -0.0, 1.0, 0.1, 1e300, float("inf"), float("nan")])
    | st.sampled_from(["1", "1.0", "", " ", "half \ud83d", "\u2028\n", "é🙂", "null"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab:"), inner),
    max_leaves=5,
)
KEYS = st.sampled_from(["text", "label", "late", "a.b", "", "a:b", "text "])
LINES = st.dictionaries(KEYS, VALUES, max_size=4).map(json.dumps)
ODD = st.sampled_from(["", "  ", "[1]", "{", '{"a": 1, "a": 2}', '\ufeff{"text": 1}', "1", "\f"])


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
    rest = (list(table.columns), table.reading, table.notes, dict(table.unusable), table.hint)
    # As text, which tells 1 from 1.0, and shows the order of the columns.
    return [repr(row) for row in table.rows], list(table.lines), rest


def read_both_ways(path: Path, form: Form) -> tuple[object, object]:
    """Return what is found in a file if it is read whole, and if it is large."""
    whole = shown(found(path, form))
    with pytest.MonkeyPatch.context() as patch:
        make_large(patch)
        return whole, shown(found(path, form))


def make_large(patch: pytest.MonkeyPatch) -> None:
    """Let every file be a large one."""
    patch.setattr(large, "LARGE_BYTES", 0)
    patch.setattr(large, "SAMPLE_SIZE", 0)


@pytest.fixture
def every_file_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    make_large(monkeypatch)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Return the text of a file that is nearly, or quite, a table."""
    between, end = draw(st.sampled_from(",,\t;|")), draw(st.sampled_from(["\n", "\r\n"]))
    width = draw(st.integers(1, 3))
    names = draw(st.permutations(["text", "label", "b"]))[:width]
    row = st.lists(CELLS, min_size=width, max_size=width)
    odd = st.lists(CELLS, min_size=1, max_size=4)
    rows = draw(st.lists(row, max_size=6))
    rows += draw(st.lists(odd, max_size=1))
    above = draw(st.sampled_from(["", "", "", "# a comment\n", "\n", "sep=;\n"]))
    lines = [between.join(cells) for cells in (names, *rows)]
    return above + end.join(lines) + draw(st.sampled_from(["", end, end + end]))


@pytest.mark.parametrize(
    "form", [Form(), Form(delimiter="ending"), Form(quoting="double")], ids=str
)
@pytest.mark.parametrize("name", [*USUAL, *UNUSUAL])
def test_a_file_is_read_as_if_it_was_small(name: str, form: Form, tmp_path: Path) -> None:
    whole, rows = read_both_ways(write(tmp_path / name, {**USUAL, **UNUSUAL}[name]), form)
    assert rows == whole


@EXAMPLES
@given(tables(), styles(), st.sampled_from(sorted(WRITERS)))
def test_random_tables_are_read_as_if_they_were_small(
    tmp_path: Path, table: Rows, style: Style, how: str
) -> None:
    file = WRITERS[how](table, style)
    whole, rows = read_both_ways(write(tmp_path / file.name, file.content), file.form)
    assert rows == whole


@EXAMPLES
@given(st.sampled_from(["a.csv", "a.tsv"]), texts(), FORMS)
def test_random_texts_are_read_as_if_they_were_small(
    tmp_path: Path, name: str, text: str, form: Form
) -> None:
    whole, rows = read_both_ways(write(tmp_path / name, text), form)
    assert rows == whole


@EXAMPLES
@given(st.lists(LINES | ODD, max_size=6), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_random_objects_are_read_as_if_they_were_small(
    tmp_path: Path, lines: list[str], end: str
) -> None:
    whole, rows = read_both_ways(write(tmp_path / "a.jsonl", end.join(lines)), Form())
    assert rows == whole


SOME = {
    "text": pyarrow.array(["one", None, "Größe", "one"]).dictionary_encode(),
    "label": pyarrow.array([Decimal("1.00"), Decimal("2.50"), None, Decimal("3.10")]),
    "at": pyarrow.array([0, 1, 2, 3], pyarrow.timestamp("us")),
    "messages": [[{"role": "user", "content": "Hi."}], [], None, [{"role": "a", "content": "b"}]],
    "score": [1.0, 2.5, None, 4.0],
}


@pytest.mark.parametrize("wanted", [WANTED, Wanted(("messages.0.content",), has_words=True)])
@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "b.arrow", "a.feather"])
def test_columns_are_read_as_if_they_were_small(
    name: str, wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow, "ROWS_AT_ONCE", 3)
    path, table = tmp_path / name, pyarrow.table(SOME)
    if name == "a.parquet":
        pyarrow.parquet.write_table(table, path, row_group_size=2)
    elif name == "a.feather":
        pyarrow.feather.write_feather(table, str(path), compression="zstd", chunksize=2)
    elif name == "a.arrow":
        with pyarrow.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    else:
        with pyarrow.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table)
    whole = read_table(path, "data.train", Form(), wanted)
    make_large(monkeypatch)
    rows = read_table(path, "data.train", Form(encoding="cp1252"), wanted)
    assert shown(rows) == shown(whole)
    assert not isinstance(rows.rows, list) and rows.rows[3] == whole.rows[3]
    assert rows.rows[1:] == list(whole.rows[1:])


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.feather"])
def test_broken_columns_are_refused_as_if_they_were_small(name: str, tmp_path: Path) -> None:
    whole, rows = read_both_ways(write(tmp_path / name, b"PAR1 and no more" * 9), Form())
    assert rows == whole and name in str(whole)
    parquet = tmp_path / "b.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": [f"text {n}" for n in range(99)]}), parquet)
    content = bytearray(parquet.read_bytes())
    content[4:60] = bytes(56)
    parquet.write_bytes(content)
    assert isinstance(found(parquet, Form()), list)
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(DataError, match="must be a Parquet file"),
    ):
        make_large(patch)
        list(read_table(parquet, "data.train", Form(), WANTED).rows)


def write_columns(table: pyarrow.Table, path: Path) -> None:
    """Write a Parquet file, or one of Arrow's."""
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
        return
    with pyarrow.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_columns_of_one_name_are_refused_if_they_are_used(
    name: str, is_large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cells = tmp_path / name, {"text": cell.text, "label": cell.text}
    values = [pyarrow.array(["one", "two"])] * 3
    write_columns(pyarrow.Table.from_arrays(values, ["text", "text", "label"]), path)
    if is_large:
        make_large(monkeypatch)
    table = read_table(path, "data.train", Form(), WANTED)
    assert len(table.read({"label": "label"}, cells)) == 2
    with pytest.raises(DataError, match=r"column names must be unique, got 'text'\. Rename one"):
        table.read({"text": "text", "label": "label"}, cells)


@pytest.mark.parametrize("is_large", [False, True])
def test_wrong_offsets_are_refused(
    is_large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.arrow"
    write_columns(pyarrow.table({"text": ["one", "two", "three"]}), path)
    offsets = b"".join(n.to_bytes(4, "little") for n in (0, 3, 6, 11))
    assert path.read_bytes().count(offsets) == 1
    wrong = b"".join(n.to_bytes(4, "little") for n in (0, 9, 6, 11))
    path.write_bytes(path.read_bytes().replace(offsets, wrong))
    if is_large:
        make_large(monkeypatch)
    with pytest.raises(DataError, match=r"a\.arrow: must be an Arrow file"):
        list(read_table(path, "data.train", Form(), WANTED).rows)


def test_dates_with_a_time_of_day_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    dates = pyarrow.array([1, 2], pyarrow.int64()).view(pyarrow.date64())
    write_columns(pyarrow.table({"text": ["one", "two"], "at": dates}), path)
    whole, rows = read_both_ways(path, Form())
    assert rows == whole and not isinstance(whole, list)


@pytest.mark.usefixtures("every_file_is_large")
@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "cp1252"])
def test_a_file_that_is_said_to_be_utf8_is_read_row_by_row(encoding: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", USUAL["a.csv"])
    table = large.read_large(source_of(path, path), Form(encoding=encoding), WANTED.columns)
    assert (table is None) == (encoding == "cp1252")
    whole, rows = read_both_ways(path, Form(encoding=encoding))
    assert rows == whole


@needs(DATA)
@pytest.mark.thorough
def test_real_files_are_read_as_if_they_were_small() -> None:
    paths = [path for path in DATA.rglob("*.*") if path.suffix in (".csv", ".tsv", ".jsonl")]
    assert len(paths) > 20
    for path in paths:
        whole, rows = read_both_ways(path, Form())
        assert rows == whole, path


@pytest.mark.usefixtures("every_file_is_large")
@pytest.mark.parametrize("name", [*USUAL, *UNUSUAL])
def test_only_usual_files_are_read_row_by_row(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, {**USUAL, **UNUSUAL}[name])
    if name in ("title.csv", "pickle.csv"):  # refused
        return
    table = large.read_large(source_of(path, path), Form(), WANTED.columns)
    assert (table is not None) == (name in USUAL)


PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def packed(folder: Path, ending: str, files: dict[str, str | bytes]) -> Path:
    """Write a container of files, of the first one if it holds one only; return its path."""
    contents = {
        name: text if isinstance(text, bytes) else text.encode() for name, text in files.items()
    }
    name, content = next(iter(contents.items()))
    path = folder / f"{name}{ending}"
    if ending == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for each, inner in contents.items():
                archive.writestr(each, inner)
    else:
        path.write_bytes(PACKERS[ending](content))
    return path


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        *((name, ".gz") for name in [*USUAL, *UNUSUAL]),
        *((name, ending) for name in ("a.csv", "quote.csv") for ending in (".bz2", ".xz", ".zip")),
    ],
)
def test_what_is_packed_is_read_as_if_it_was_small(
    name: str, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path, ending, {name: {**USUAL, **UNUSUAL}[name], "LICENSE": "MIT"})
    for each in [path, path / name] if ending == ".zip" else [path]:
        whole, rows = read_both_ways(each, Form())
        assert rows == whole
    make_large(monkeypatch)
    if name in USUAL:
        table = read_table(path, "data.train", Form(), WANTED)
        assert not isinstance(table.rows, list) and table.rows[-1] == list(table.rows)[-1]
        assert table.notes == ((f"{path}: read {name}, not LICENSE",) if ending == ".zip" else ())


@pytest.mark.parametrize("ending", [*PACKERS, ".zip"])
@pytest.mark.parametrize("how", ["cut", "damaged", "text", "bomb"])
def test_a_broken_container_is_refused_as_if_it_was_small(
    ending: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "text,label\n" + "".join(f"a text {n * n},{n % 2}\n" for n in range(999))
    path = packed(tmp_path, ending, {"a.csv": text})
    content = path.read_bytes()
    if how == "bomb":
        monkeypatch.setattr(container, "MAX_UNCHECKED", 9)
        monkeypatch.setattr(container, "MAX_RATIO", 1)
    else:
        middle = bytes(each ^ 255 for each in content[900:1000])
        broken = {"cut": content[:900], "damaged": content[:900] + middle + content[1000:]}
        path.write_bytes(broken.get(how, text.encode()))
    whole, rows = read_both_ways(path, Form())
    assert rows == whole and isinstance(whole, list)


@pytest.mark.usefixtures("every_file_is_large")
def test_a_container_of_columns_is_read_whole(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": ["one"]}), tmp_path / "a.parquet")
    path = packed(tmp_path, ".gz", {"a.parquet": (tmp_path / "a.parquet").read_bytes()})
    assert read_table(path, "data.train", Form(), WANTED).rows == [{"text": "one"}]


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


@pytest.mark.usefixtures("every_file_is_large")
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
@pytest.mark.parametrize("more", ["", "{" * 70_000, '"', "\n\n"])
def test_a_file_that_changes_while_its_rows_are_read_is_refused(
    tmp_path: Path, name: str, more: str
) -> None:
    path = write(tmp_path / name, USUAL[name] + "\n")
    rows = iter(read_table(path, "data.train", Form(), WANTED).rows)
    next(rows)
    with path.open("a") as file:
        file.write(more)
    if not more:
        path.unlink()
    with pytest.raises(DataError, match=f"{name}: must not change while it is read"):
        list(rows)
