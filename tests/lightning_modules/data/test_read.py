"""Containers, sheets, folders, patterns, and CoNLL's columns, from bytes to rows."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import struct
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow
import pyarrow.parquet
import pytest

from lightning_modules.data.file.form import Form
from lightning_modules.data.read import Wanted, read_table, read_tables
from lightning_modules.data.table import Table
from lightning_modules.error import ConfigError, DataError
from lightning_modules.rows import cell

CSV = 'text,label\nfine,ham\n"so, so",spam\n'
ROWS = [{"text": "fine", "label": "ham"}, {"text": "so, so", "label": "spam"}]
BOTH = Wanted(("text", "label"))


def written(name: str, content: bytes | str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def zipped(members: dict[str, str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def broken_zip() -> bytes:
    """Return a .zip whose directory says that its file is longer than the archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.csv", CSV)
    found = bytearray(buffer.getvalue())
    struct.pack_into("<II", found, found.rindex(b"PK\x01\x02") + 20, 10**6, 10**6)
    return bytes(found)


def book(*sheets: list[list[Any]]) -> bytes:
    file, found = io.BytesIO(), openpyxl.Workbook()
    found.remove(found.active)
    for rows in sheets:
        sheet = found.create_sheet()
        for row in rows:
            sheet.append(row)
    found.save(file)
    return file.getvalue()


def read(name: str, content: bytes | str, wanted: Wanted = BOTH) -> Table:
    return read_table(written(name, content), "data.train", Form(), wanted)


def name_of(value: object) -> str:
    """Return a test's name that does not hold bytes, which have the time in archives."""
    return value if isinstance(value, str) else "bytes"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv.gz", gzip.compress(CSV.encode())),
        ("a.csv.bz2", bz2.compress(CSV.encode())),
        ("a.csv.xz", lzma.compress(CSV.encode())),
        ("a.zip", zipped({"data/a.csv": CSV, "__MACOSX/._a.csv": "x"})),
        ("a.jsonl.gz", gzip.compress("".join(json.dumps(row) + "\n" for row in ROWS).encode())),
        ("a.xlsx", book([], [["text", "label"], ["fine", "ham"], [], ["so, so", "spam"]])),
    ],
    ids=name_of,
)
def test_containers_are_opened(name: str, content: bytes) -> None:
    assert list(read(name, content).rows) == ROWS


def test_a_zip_with_a_readme_says_what_it_read() -> None:
    table = read("a.zip", zipped({"a.csv": CSV, "readme": "About."}))
    assert list(table.rows) == ROWS and table.notes == ("a.zip: read a.csv, not readme",)


def test_a_zip_with_several_files_needs_the_name_of_one() -> None:
    path = written("a.zip", zipped({"a.csv": CSV, "b/b.csv": CSV}))
    with pytest.raises(DataError) as raised:
        read_table(path, "data.train")
    assert str(raised.value) == (
        "a.zip: must have one file, got a.csv, b/b.csv. Name one: a.zip/a.csv."
    )
    assert list(read_table(path / "b" / "b.csv", "data.train", wanted=BOTH).rows) == ROWS
    with pytest.raises(DataError, match=r"must have the file that is named, got 'c\.csv'"):
        read_table(path / "c.csv", "data.train")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv.gz", gzip.compress(CSV.encode())[:-9], "must be a whole .gz file"),
        ("a.csv.gz", b"no gzip", "must be a whole .gz file.*Rename it without .gz"),
        ("a.csv.zst", b"\x28\xb5\x2f\xfd" + bytes(9), "got a .zst file. Unpack it"),
        ("a.tar.gz", gzip.compress(bytes(257) + b"ustar" + bytes(250)), "a .tar file. Unpack it"),
        ("a.feather", b"ARROW1" + bytes(9), "must be a Feather file"),
        ("a.csv", b"ARROW1" + bytes(9), "got a .arrow or .feather file. Rename it"),
        ("a.arrow", bytes(90), "must be an Arrow file"),
        ("a.pkl", b"\x80\x04" + bytes(9), "got a pickle file. Save it as .parquet"),
        ("a.xls", b"\xd0\xcf\x11\xe0" + bytes(9), "got a .xls file. Save it as .xlsx or CSV"),
        ("a.csv", b"version https://git-lfs.github.com/spec/v1\n", "got a Git LFS pointer file"),
        ("a.zip", zipped({"a.csv": CSV})[:60], "must be a whole .zip file"),
        ("a.zip", broken_zip(), "must be a whole .zip file, got EOFError"),
        ("a.zip", zipped({"a.csv": CSV})[40:], "must be a whole .zip file"),
        ("a.csv", zipped({"a.csv": CSV}), "must be text, got a .zip or .xlsx file"),
        ("a.xlsx", b"\xd0\xcf\x11\xe0" + bytes(600), "must be an .xlsx workbook, got a file with"),
        ("a.xlsx", zipped({"a.csv": CSV}), "must be an .xlsx workbook"),
        ("a.xlsx", b"text", "must be an .xlsx workbook"),
        ("a.csv.gz", gzip.compress(bytes(2**23), 1) * 33, "must unpack to at most 256 MiB"),
    ],
    ids=name_of,
)
def test_broken_containers_are_refused(name: str, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(name, content)


def test_a_workbook_has_text_like_its_csv_and_says_which_sheet() -> None:
    first = [["text", "label", None], [12, 4.0], ["yes", True, None], [None, None], ["half", 0.5]]
    table = read("a.xlsx", book(first, [["other"], ["x"]]))
    assert [tuple(row.values()) for row in table.rows] == [
        ("12", "4"),
        ("yes", "TRUE"),
        ("half", "0.5"),
    ]
    assert list(table.lines) == [2, 3, 5] and "read sheet Sheet, not Sheet1" in table.notes[0]


def test_a_folder_per_class_is_read_like_acl_imdb() -> None:
    for name in ("pos/0_9.txt", "pos/1_7.txt", "neg/0_2.txt", "unsup/0_0.txt", "urls_pos.txt"):
        written(f"imdb/train/{name}", f"A text <br /><br />of {name}.\n")
    table = read_table(Path("imdb/train"), "data.train")
    assert [row["label"] for row in table.rows] == ["neg", "pos", "pos"]
    assert table.place(2) == "imdb/train/pos/1_7.txt:1"
    assert any("not read: unsup, urls_pos.txt" in note for note in table.notes)
    written("imdb/test/pos/0_9.txt", "A text.\n")
    with pytest.raises(ConfigError, match=r"E.g. data.train=imdb/train"):
        read_table(Path("imdb"), "data.train")


def test_a_file_per_class_is_read_line_by_line() -> None:
    written("polarity/rt-polarity.pos", "the café is fine\n\nso good\n".encode("cp1252"))
    written("polarity/rt-polarity.neg", "bad\n")
    table = read_table(Path("polarity"), "data.train")
    rows = [(row["text"], row["label"]) for row in table.rows]
    assert rows == [("bad", "neg"), ("the café is fine", "pos"), ("so good", "pos")]
    assert table.place(2) == "polarity/rt-polarity.pos:3"
    assert any("Windows-1252" in note for note in table.notes)


def test_a_readme_is_no_class() -> None:
    for name in ("rt-polarity.pos", "rt-polarity.neg", "rt-polarity.README.1.0.txt"):
        written(f"rt/{name}", "a text\n")
    table = read_table(Path("rt"), "data.train")
    assert [row["label"] for row in table.rows] == ["neg", "pos"]
    assert "rt: not read: rt-polarity.README.1.0.txt" in table.notes


@pytest.mark.parametrize(
    ("names", "rule"),
    [
        (
            ("a.csv", "b.csv"),
            r"must be files, or a folder of texts.* E\.g\. data\.train=parts/a\.csv",
        ),
        (("pos.txt.gz", "neg.txt.gz"), "must be files, or a folder of texts"),
        (("train.txt", "test.txt"), r"must be one split.* E\.g\. data\.train=parts/test\.txt"),
        (("data/a.csv", "data/b.csv"), "must have files of one text each only, got 'parts/data/a"),
    ],
    ids=name_of,
)
def test_a_folder_of_tables_or_splits_has_no_classes(names: tuple[str, ...], rule: str) -> None:
    for name in names:
        written(f"parts/{name}", CSV)
    with pytest.raises(ConfigError, match=rule):
        read_table(Path("parts"), "data.train", wanted=BOTH)


def test_a_plain_text_is_read_in_the_encoding_that_is_given() -> None:
    path = written("a.txt", "a café".encode("utf-16-le"))
    (row,) = read_table(path, "data.train", Form(encoding="utf-16-le")).rows
    assert row == {"text": "a café"}


def test_dates_that_python_lacks_are_refused() -> None:
    column = pyarrow.array([2**31 - 1], pyarrow.date32())
    pyarrow.parquet.write_table(pyarrow.table({"text": ["fine"], "day": column}), "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: must be a Parquet file, got days=2147483647"):
        read_table(Path("a.parquet"), "data.train")


def test_several_files_and_patterns_are_read_in_order() -> None:
    for number in (2, 1):
        written(f"part-{number}.csv", f"text,label\ntext {number},ham\n")
    for place in ("part-*.csv", ["part-1.csv", "part-2.csv"]):
        tables = read_tables(place, "data.train", Form(), BOTH)
        assert [row["text"] for table in tables for row in table.rows] == ["text 1", "text 2"]
    written("part-3.csv", "text,stars\nfine,4\n")
    with pytest.raises(ConfigError, match=r"files must have the columns of part-1\.csv"):
        read_tables("part-*.csv", "data.train", Form(), BOTH)
    with pytest.raises(ConfigError, match="must be a pattern of files that exist"):
        read_tables("none-*.csv", "data.train")


WORDS = Wanted(("tokens", "ner_tags"), has_words=True)


def test_conll_in_a_txt_file_with_comments_and_hashtags() -> None:
    content = "# id 1\tdomain=en\nEU\tB-ORG\n#tag\tO\n\n# newdoc\n#\tO\nit\tO\n"
    table = read("a.txt", content, WORDS)
    assert [row["tokens"] for row in table.rows] == [["EU", "#tag"], ["#", "it"]]
    assert table.notes == ("a.txt: 2 lines that begin with # were skipped as comments",)


def test_hashtags_with_a_tag_of_their_own_are_words() -> None:
    content = "# id B-1\nwe O\nlove O\n#oslo B-hashtag\n#b O\n"
    table = read("a.conll", content, WORDS)
    assert [row["tokens"] for row in table.rows] == [["we", "love", "#oslo", "#b"]]
    assert table.notes == ("a.conll: 1 line that begins with # was skipped as comments",)


def test_columns_of_conll_have_numbers_or_given_names() -> None:
    content = "EU NNP B-NP B-ORG\nrejects VBZ B-VP O\n"
    assert read("a.conll", content).rows[0]["2"] == ["NNP", "VBZ"]
    form = Form(columns=["tokens", "pos", "chunks", "ner_tags"])
    assert read_table(Path("a.conll"), "data.train", form).rows[0]["pos"] == ["NNP", "VBZ"]


def test_words_with_spaces_are_kept_if_tabs_separate() -> None:
    table = read("a.conll", "New York\tB-LOC\nis\tO\n\n10 000\tO\n")
    assert [row["tokens"] for row in table.rows] == [["New York", "is"], ["10 000"]]


NESTED = """\
#\thttp://de.wikipedia.org/wiki/Rostock [2009-10-17]
1\tUniversität\tB-ORG\tO
2\tRostock\tI-ORG\tB-LOC

#\thttp://de.wikipedia.org/wiki/Bonn [2009-10-17]
1\t1848\tO\tO
2\tin\tO\tO
3\tBonn\tB-LOC\tO
"""


@pytest.mark.parametrize("name", ["NER-de-dev.tsv", "a.conll"])
def test_germeval_has_numbers_words_and_two_tags(name: str) -> None:
    table = read(name, NESTED, WORDS)
    assert [row["tokens"] for row in table.rows] == [
        ["Universität", "Rostock"],
        ["1848", "in", "Bonn"],
    ]
    assert table.rows[0]["ner_tags"] == ["B-ORG", "I-ORG"]
    assert table.rows[0]["inner_tags"] == ["O", "B-LOC"]
    plain = "1 B-X B-Y O\n2 x O O\nz w O O\n"  # its words are numbers
    assert read("b.conll", plain, WORDS).rows[0]["tokens"] == ["1", "2", "z"]


LABELLED = [
    {
        "id": number,
        "data": {"text": f"text {number}"},
        "annotations": [{"result": [{"value": {"choices": [choice]}}]}] if choice else [],
    }
    for number, choice in enumerate(["good", "bad", ""])
]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_columns_within_others_are_named_by_their_path(name: str) -> None:
    lines = "\n".join(map(json.dumps, LABELLED))
    content = json.dumps(LABELLED) if name == "a.json" else lines
    label = "annotations.0.result.0.value.choices.0"  # as Label Studio exports it
    table = read(name, content, Wanted(("data.text", label)))
    found = [(row["data.text"], row[label]) for row in table.rows]
    assert found == [("text 0", "good"), ("text 1", "bad"), ("text 2", None)]
    with pytest.raises(ConfigError, match=r"Its columns: id, data, annotations. Within these: "):
        read(name, content).read({"text": "text"}, {"text": cell.text})


def test_a_column_whose_name_has_a_dot_is_itself() -> None:
    content = '{"a.b": "itself", "a": {"b": "within"}}\n'
    assert read("a.jsonl", content, Wanted(("a.b",))).rows[0]["a.b"] == "itself"


def test_universal_dependencies_are_read_by_their_columns() -> None:
    lines = [
        "# text = Im Haus",
        "1-2\tIm\t_\t_\t_\t_\t_\t_\t_\t_",
        "1\tIn\tin\tADP\tAPPR\t_\t3\tcase\t_\t_",
        "2\tdem\tder\tDET\tART\t_\t3\tdet\t_\t_",
        "3\tHaus\tHaus\tNOUN\tNN\t_\t0\troot\t_\t_",
    ]
    table = read("a.conllu", "\n".join(lines) + "\n")
    assert table.rows[0]["tokens"] == ["In", "dem", "Haus"]
    assert table.rows[0]["upos_tags"] == ["ADP", "DET", "NOUN"]


def test_keys_that_an_object_has_twice_are_refused() -> None:
    with pytest.raises(DataError, match=r"a\.jsonl:1: an object must have each key once, got 'a'"):
        read("a.jsonl", '{"a": 1, "b": {"a": 2}, "a": 3}\n')


def test_a_text_file_is_a_table_if_other_columns_are_wanted() -> None:
    content = "Quality\tOne\tTwo\n1\tso\tand so\n0\tyes\tno\n"
    table = read("msr.txt", content, Wanted(("One", "Two", "Quality")))
    assert [tuple(row.values()) for row in table.rows] == [
        ("1", "so", "and so"),
        ("0", "yes", "no"),
    ]


@pytest.mark.parametrize("name", ["eng.train", "eng.testa", "words"])
def test_words_are_read_whatever_the_file_is_called(name: str) -> None:
    content = "-DOCSTART- -X- O O\n\nEU NNP I-NP I-ORG\nrejects VBZ I-VP O\n"
    table = read(name, content, Wanted(("tokens", "ner_tags"), has_words=True))
    assert [row["ner_tags"] for row in table.rows] == [["I-ORG", "O"]]


def test_a_title_above_a_sheets_names_is_refused() -> None:
    with pytest.raises(DataError, match="must begin with the names of the columns, got them in"):
        read("a.xlsx", book([["Survey", None], ["text", "label"], ["fine", "good"]]))


def test_names_in_the_middle_of_joined_files_are_refused() -> None:
    table = read("a.csv", CSV + CSV)
    with pytest.raises(DataError, match="must be a row, got the names of the columns again"):
        table.read({"text": "text", "label": "label"}, {"text": cell.text, "label": cell.label})


def test_rows_of_spaces_below_a_sheet_are_none() -> None:
    rows = [["text", "label", "note"], ["fine", "good", "x"], [None, "  "], ["poor", "bad", "y"]]
    assert list(read("a.xlsx", book(rows)).lines) == [2, 4]
