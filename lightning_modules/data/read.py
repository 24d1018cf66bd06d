"""Read files strictly: return every row, or raise an error with file, row and column.

CSV, TSV and other delimited text, JSON (a list of objects, or SQuAD's tree of questions), JSONL,
Parquet, Arrow, Excel's .xlsx, CoNLL's columns, a folder with a file per text or per class, and
plain text, which is one row with the column `text`, kept byte for byte; each also within .gz, .bz2,
.xz or a .zip. Files that can be read in several ways are read in the one that fits, and the table
says how.
"""

from __future__ import annotations

import codecs
import glob
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lightning_modules.data.file.arrow import ARROW, read_arrow
from lightning_modules.data.file.conll import read_conll
from lightning_modules.data.file.container import PACKED, BrokenError, Opened, opened, source_of
from lightning_modules.data.file.delimited import check_names_first, read_delimited, table_of
from lightning_modules.data.file.dialect import Cut, lines_of
from lightning_modules.data.file.encoding import UTF8, Decoded, decoded
from lightning_modules.data.file.folder import read_folder
from lightning_modules.data.file.form import AUTO, BY_ENDING, Form
from lightning_modules.data.file.large import read_large
from lightning_modules.data.file.nested import with_nested
from lightning_modules.data.file.objects import read_json, read_jsonl
from lightning_modules.data.file.sheet import read_sheet
from lightning_modules.data.table import Table
from lightning_modules.error import ConfigError, DataError, Problem, Verbatim, nearest
from lightning_modules.machine.path import typed_path

TEXT = "text"
_TAR = slice(257, 262)
"""Where a .tar says what it is."""
_MAGIC = {
    b"PK\x03\x04": (".zip or .xlsx", "Rename it."),
    b"\x1f\x8b": (".gz", "Rename it."),
    b"BZh9": (".bz2", "Rename it."),
    b"\xfd7zXZ": (".xz", "Rename it."),
    b"PAR1": (".parquet", "Rename it."),
    b"\xd0\xcf\x11\xe0": (".xls", "Save it as .xlsx or CSV."),
    b"\x28\xb5\x2f\xfd": (".zst", "Unpack it."),
    b"7z\xbc\xaf\x27\x1c": (".7z", "Unpack it."),
    b"Rar!\x1a": (".rar", "Unpack it."),
    b"ARROW1": (".arrow or .feather", "Rename it."),
    b"\xff\xff\xff\xff": (".arrow", "Rename it."),
    b"SQLite format 3\0": ("SQLite", "Save its table as CSV."),
    b"\x80\x04": ("pickle", "Save it as .parquet."),
    b"\x80\x05": ("pickle", "Save it as .parquet."),
    b"version https://git-lfs": ("Git LFS pointer", "Fetch it: git lfs pull."),
}


@dataclass(frozen=True)
class Wanted:
    """What the rows are for, which helps to find out how a file is written.

    Attributes:
        columns: Names that columns should have.
        has_words: Whether a row is a list of words, e.g. in CoNLL's columns.

    """

    columns: Sequence[str] = (TEXT,)
    has_words: bool = False


def read_table(
    path: Path, key: str, form: Form | None = None, wanted: Wanted | None = None
) -> Table:
    """Read the table file at `path`, which config key `key` names.

    Args:
        path: The file, a folder of texts, or a file in a .zip: `texts.zip/reviews.csv`.
        key: What messages call the setting.
        form: What the user says of how it is written; None finds out everything.
        wanted: What its rows are for.

    Raises:
        ConfigError: There is no such file, or its extension is unknown.
        DataError: The file is empty, has no rows, or is broken.

    """
    form, wanted = form or Form(), wanted or Wanted()
    archive, member = _archive(path)
    if archive is None and path.is_dir() and path.suffix.lower() not in _ENDINGS:
        return _with_rows(path, read_folder(path, key, form))
    if archive is None and not path.is_file():
        raise ConfigError(Problem(key, "must be a file", str(path), _existing_files(path)))
    if (archive or path).stat().st_size == 0:
        raise DataError(_nothing(path, "must not be empty", "0 bytes"))
    if (large := _large(path, archive or path, member, form, wanted)) is not None:
        return _with_rows(path, with_nested(large, wanted.columns))
    found = opened(archive or path, member)
    if not found.content:
        raise DataError(_nothing(path, "must not be empty", "0 bytes"))
    table = with_nested(_parsed(path, found, key, form, wanted), wanted.columns)
    return _with_rows(path, replace(table, notes=(*found.notes, *table.notes)))


def read_tables(
    place: str | Sequence[str], key: str, form: Form | None = None, wanted: Wanted | None = None
) -> list[Table]:
    """Read one or more files: a path, several, or a pattern like `part-*.csv`.

    Raises:
        ConfigError: There is no such file, or the files' columns differ.
        DataError: Like `read_table`.

    """
    paths = paths_of(place, key)
    tables = [read_table(path, key, form, wanted) for path in paths]
    for table in tables[1:]:
        if set(table.columns) != set(tables[0].columns):
            rule = (
                f"files must have the columns of {tables[0].path}: {', '.join(tables[0].columns)}"
            )
            got = Verbatim(f"{', '.join(table.columns)} in {table.path}")
            raise ConfigError(Problem(key, rule, got))
    return tables


def paths_of(place: str | Sequence[str], key: str) -> list[Path]:
    """Return the paths of one or more files; raises ConfigError if a pattern has none."""
    places = [place] if isinstance(place, str) else place
    return [path for each in places for path in _paths(each, key)]


def _paths(place: str, key: str) -> list[Path]:
    """Return the paths of a place; those of a pattern in the order of their names."""
    path = typed_path(place)
    if path.exists() or not glob.has_magic(place):
        return [path]
    pattern = str(path)
    found = [Path(each) for each in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207
    files = [each for each in found if each.is_file()]
    if not files:
        raise ConfigError(Problem(key, "must be a pattern of files that exist", place))
    return files


def _archive(path: Path) -> tuple[Path | None, str | None]:
    """Return the .zip that a path goes into, and the file in it."""
    for parent in path.parents:
        if parent.suffix.lower() == ".zip" and parent.is_file():
            return parent, path.relative_to(parent).as_posix()
    return None, None


def _large(path: Path, file: Path, member: str | None, form: Form, wanted: Wanted) -> Table | None:
    try:
        source = source_of(path, file, member)
        if wanted.has_words and source.ending not in (*_TEXTS, *ARROW):
            return None
        if source.ending not in ARROW:
            with source.open() as stream:
                start = stream.read(_TAR.stop)
            if any(map(start.startswith, _MAGIC)):
                return None
    except (BrokenError, DataError):  # said when it is read whole
        return None
    return read_large(source, form, wanted.columns)


def _parsed(path: Path, found: Opened, key: str, form: Form, wanted: Wanted) -> Table:
    content = found.content
    ending = Path(found.name).suffix.lower()
    if ending not in _ENDINGS:
        ending = _ending_of(content, form)
    if ending in ARROW:
        return read_arrow(path, content, ending)
    if ending == ".xlsx":
        return _sheet(path, content, form, wanted)
    _check_is_text(path, content)
    if ending == ".txt" and not (wanted.has_words or _is_table(form, wanted)):
        return _plain_text(path, content, form)
    text = decoded(content, str(path), form)
    if ending in _CONLL or _has_sentences(text.text, ending, form, wanted):
        table = read_conll(path, text.text, form)
    elif ending in _TEXTS:
        table = _TEXTS[ending](path, text)
    else:
        table = read_delimited(path, text, form, ending, wanted.columns)
        if not (ending or _is_table(form, wanted, table)):
            rule = f"must end in one of {', '.join(_SHOWN)}"
            fix = f"If its lines are rows, name the columns: {form.prefix}columns=[A,B]."
            raise ConfigError(Problem(key, rule, str(path), fix))
        return table
    return replace(table, notes=(*text.notes, *table.notes))


def _check_is_text(path: Path, content: bytes) -> None:
    found = next((_MAGIC[each] for each in _MAGIC if content.startswith(each)), None)
    if content[_TAR] == b"ustar":
        found = (".tar", "Unpack it.")
    if found is not None:
        kind, fix = found
        raise DataError(Problem(str(path), "must be text", Verbatim(f"a {kind} file"), fix))


def _plain_text(path: Path, content: bytes, form: Form) -> Table:
    """Return a text as one row, byte for byte if it is UTF-8 and not said to be another."""
    try:
        is_other = form.encoding != AUTO and codecs.lookup(form.encoding).name != UTF8
        found = decoded(content, str(path), form) if is_other else _as_it_is(content)
    except UnicodeDecodeError:
        found = decoded(content, str(path), form)
    return Table(path, [TEXT], [{TEXT: found.text}], [1], notes=found.notes)


def _as_it_is(content: bytes) -> Decoded:
    return Decoded(content.decode(UTF8), "UTF-8")


def _is_table(form: Form, wanted: Wanted, table: Table | None = None) -> bool:
    """Return whether a file that may be anything is delimited."""
    if form.columns is not None or form.delimiter_character is not None:
        return True
    if table is not None:
        return set(wanted.columns) <= set(table.columns)
    return bool(wanted.columns) and not set(wanted.columns) <= {TEXT}


def _has_sentences(text: str, ending: str, form: Form, wanted: Wanted) -> bool:
    """Return whether a file that may be anything has a word per line, as CoNLL's."""
    if not wanted.has_words or _is_table(form, Wanted()):
        return False
    if ending in (".tsv", ".tab"):  # GermEval's; a table has the names in its first line
        lines = lines_of(text.strip())
        return "" in lines and not set(wanted.columns) <= set(lines[0].split("\t"))
    return ending in ("", ".txt")


def _ending_of(content: bytes, form: Form) -> str:
    """Return the ending that a file should have; "" for one that may be delimited."""
    if form.columns is None and form.delimiter in (AUTO, BY_ENDING):
        if content.startswith(b"PAR1"):
            return ".parquet"
        if content.startswith(b"ARROW1"):
            return ".arrow"
        if content.startswith(b"PK\x03\x04"):
            return ".xlsx"
        if content.lstrip().startswith(b"{"):
            return ".jsonl"
    return ""


def _sheet(path: Path, content: bytes, form: Form, wanted: Wanted) -> Table:
    rows, lines, notes = read_sheet(path, content)
    check_names_first(path, rows, lines, form, wanted.columns)
    table = table_of(path, Cut(None, rows, lines, lines), form)
    return replace(table, reading=f"its first sheet, {table.reading}", notes=(*notes, *table.notes))


_DELIMITED = (".csv", ".tsv", ".tab")
_CONLL = (".conll", ".conllu", ".iob", ".iob2", ".bio")
_TEXTS: Mapping[str, Callable[[Path, Decoded], Table]] = {
    ".json": lambda path, content: read_json(path, content.text),
    ".jsonl": lambda path, content: read_jsonl(path, content.text),
    ".ndjson": lambda path, content: read_jsonl(path, content.text),
}
_SHOWN = [".conll", ".csv", ".json", ".jsonl", ".parquet", ".tsv", ".txt", ".xlsx"]
_ENDINGS = frozenset([*_DELIMITED, *_CONLL, *_TEXTS, *ARROW, *_SHOWN])


def _with_rows(path: Path, table: Table) -> Table:
    if not table.rows:
        raise DataError(_nothing(path, "must have rows", "0 rows"))
    return table


def _nothing(path: Path, rule: str, found: str) -> Problem:
    fix = "Write a header or key names, and at least one row."
    return Problem(f"{path}", rule, Verbatim(found), fix)


def _existing_files(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"There is no folder {folder}."
    known = {*_ENDINGS, *PACKED}
    names = sorted(file.name for file in folder.iterdir() if file.suffix.lower() in known)
    if not names:
        return f"There is no {', '.join(_SHOWN)} file in {folder}."
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    # By the stem: a common extension makes any two short names similar.
    alike = [name for name in names if nearest(path.stem, [Path(name).stem])]
    near = nearest(path.name, alike)
    question = "" if near is None else f"Did you mean {path.with_name(near)}? "
    return f"{question}In {folder}: {', '.join(names[:8])}{more}."
