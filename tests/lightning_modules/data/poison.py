"""Files that are broken, or look as if: each with the rows or with a part of the message.

A program on its own, too: `python poison.py FOLDER` writes them.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import struct
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow
import pyarrow.parquet

GOOD = "text,label\nfine,ham\nbad,spam\n"
ROWS = [("fine", "ham"), ("bad", "spam")]


@dataclass(frozen=True)
class Poison:
    """A file, and what must come of it.

    Attributes:
        name: Its name.
        content: Its bytes.
        rows: Text and label of each row, if it can be read rightly; else None.
        says: A part of the message, or of the notes if it is read.

    """

    name: str
    content: bytes
    rows: list[tuple[str, str]] | None = None
    says: str = ""


def zipped(members: Mapping[str, str | bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def encrypted() -> bytes:
    """Return a .zip whose member is marked as encrypted."""
    found = bytearray(zipped({"a.csv": GOOD}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = found.index(mark) + offset
        found[at] |= 1
    return bytes(found)


def book(rows: list[list[Any]]) -> bytes:
    found, file = openpyxl.Workbook(), io.BytesIO()
    for row in rows:
        found.active.append(row)
    found.save(file)
    return file.getvalue()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return bytes(sink.getvalue())


def jsonl(*rows: str) -> bytes:
    return "".join(row + "\n" for row in rows).encode()


FINE = '{"text": "fine", "label": "ham"}'
NO_TEXT = "must be UTF-8 or in an encoding that is recognized"


def poisons() -> list[Poison]:
    """Return the files."""
    return [*_delimited(), *_encoded(), *_objects(), *_packed(), *_sheets(), *_columns()]


def _delimited() -> list[Poison]:
    def csv(name: str, text: str, rows: Any = None, says: str = "") -> Poison:
        return Poison(name, text.encode(), rows, says)

    head, many = "text,label\n", 200_000
    return [
        csv("empty.csv", "", says="must not be empty"),
        csv("empty.tsv", "", says="must not be empty"),
        csv("only_header.csv", head, says="must have rows"),
        csv("only_blank_lines.csv", "\n\n\n", says="must have rows"),
        csv("only_spaces.csv", "  \n  \n", says="must be a column"),
        csv("unclosed.csv", head + '"fine,ham\nbad,spam\n', says="must be quoted correctly"),
        csv("after_quote.csv", head + '"fi" ne,ham\n', says="must be quoted correctly"),
        csv("unclosed.tsv", 'text\tlabel\n"fine\tham\nbad\tspam\n', [('"fine', "ham"), ROWS[1]]),
        csv("short_row.csv", head + "fine,ham\nbad\n", says="must have 2 cells"),
        csv("long_row.csv", head + "fine, really,ham\nbad,spam\n", says="must have 2 cells"),
        csv("mixed.csv", head + "fine,ham\nbad;spam\n", says="must have 2 cells"),
        csv("mixed_half.csv", head + "a,ham\nb;spam\nc\tham\n", says="must have 2 cells"),
        csv("no_name.csv", "text,\nfine,ham\n", says="must be a column"),
        csv("repeated.csv", "text,label,label\nfine,ham,ham\n", says="must be unique"),
        csv("repeated_unused.csv", "text,label,x,x\nfine,ham,1,2\nbad,spam,,\n", ROWS),
        csv("trailing.csv", "text,label,,\nfine,ham,,\nbad,spam,,\n", ROWS),
        csv(
            "empty_rows.csv",
            GOOD.replace(",", ";") + ";\n;\n",
            ROWS,
            "2 rows have only empty cells",
        ),
        csv("comments.csv", f"# Source: me, 2020, and you\n#\n{GOOD}", ROWS, "above line 3"),
        csv("hash_header.csv", "#id,text,label\n1,fine,ham\n2,bad,spam\n", ROWS),
        csv("empty_cell.csv", head + "fine,\n", says="must not be empty"),
        csv("blank_cell.csv", head + "   ,ham\n", says="must not be empty"),
        csv("carriage.csv", GOOD.replace("\n", "\r"), ROWS),
        csv("carriages.csv", GOOD.replace("\n", "\r\n"), ROWS),
        csv("doubled.csv", GOOD.replace("\n", "\r\r\n"), ROWS),
        csv("no_end.csv", GOOD.rstrip("\n"), ROWS),
        csv("separators.csv", head + "a\u2028b,ham\n", [("a\u2028b", "ham")]),
        csv("huge_cell.csv", head + "x" * many + ",ham\n", [("x" * many, "ham")]),
        csv("semicolons.csv", GOOD.replace(",", ";"), ROWS, "semicolons"),
        csv("pipes.tsv", GOOD.replace(",", "|"), ROWS, "pipes"),
        csv("spaces.csv", GOOD.replace(",", " , "), ROWS),
        csv("headless.csv", "fine,ham\nbad,spam\nso,ham\n", says="data.columns="),
        csv("prose.csv", "A text, of no table.\nIt goes on\n", says="must"),
        csv("html.csv", "<html><body>Not found</body></html>\n", says="must"),
        csv("unknown.dat", "some words\n", says="must end in one of"),
    ]


def _encoded() -> list[Poison]:
    accents = "text,label\ncafé,ham\n"
    read = [("café", "ham")]
    return [
        Poison("mark.csv", GOOD.encode("utf-8-sig"), ROWS),
        Poison("marks.csv", b"\xef\xbb\xbf" * 2 + GOOD.encode(), ROWS, "second byte-order mark"),
        Poison("utf16.csv", accents.encode("utf-16"), read, "UTF-16"),
        Poison("utf16be.csv", accents.encode("utf-16-be"), read, "UTF-16-BE"),
        Poison("utf32.csv", accents.encode("utf-32"), read, "UTF-32"),
        Poison("utf16_cut.csv", accents.encode("utf-16")[:-1], None, "must be UTF-16"),
        Poison("western.csv", accents.encode("cp1252"), read, "Windows-1252"),
        Poison("half.csv", b"text,label\ncaf\xc3,ham\n", None, NO_TEXT),
        Poison("half_at_end.csv", "text,label\nham,fine é".encode()[:-1], None, NO_TEXT),
        Poison("mixed_encodings.csv", accents.encode() + b"th\xe9,ham\n", None, NO_TEXT),
        Poison("nul.csv", b"text,label\nfi\0ne,ham\n", None, "a NUL byte"),
        Poison("nuls.csv", bytes(200), None, "a NUL byte"),
        Poison("noise.csv", bytes(range(128, 256)) * 3, None, NO_TEXT),
        Poison("surrogate.csv", b"text,label\n\xed\xa0\x80,ham\n", None, NO_TEXT),
        Poison("overlong.csv", b"text,label\n\xc0\xaf,ham\n", None, NO_TEXT),
    ]


def _objects() -> list[Poison]:
    deep = '{"text": ' + "[" * 50_000 + "]" * 50_000 + ', "label": "ham"}'
    rows = [ROWS[0]]
    return [
        Poison("empty.jsonl", b"", None, "must not be empty"),
        Poison("blank.jsonl", b"\n \n", None, "must have rows"),
        Poison("cut.jsonl", jsonl(FINE, FINE[:-5]), None, "cut.jsonl:2: must be JSON"),
        Poison("nan.jsonl", jsonl('{"text": NaN, "label": "ham"}'), None, "must be text"),
        Poison("array.jsonl", jsonl(FINE, "[1]"), None, "must be an object"),
        Poison("twice.jsonl", jsonl('{"text": "a", "text": "b", "label": "c"}'), None, "once"),
        Poison("deep.jsonl", jsonl(deep), None, "must be JSON"),
        Poison("digits.jsonl", jsonl('{"text": ' + "1" * 5000 + "}"), None, "must be JSON"),
        Poison("half.jsonl", jsonl('{"text": "\\ud83d", "label": "a"}'), None, "surrogate"),
        Poison("number.jsonl", jsonl('{"text": 4, "label": "a"}'), None, "must be text"),
        Poison("list.json", f"[{FINE}]".encode(), rows),
        Poison("object.json", FINE.encode(), None, "must be a list of objects"),
        Poison("lines.json", jsonl(FINE, FINE), None, "rename the file to .jsonl"),
        Poison("comma.json", f"[{FINE},]".encode(), None, "must be JSON"),
        Poison("mark.jsonl", b"\xef\xbb\xbf" + jsonl(FINE), rows),
        Poison("wrong_ending.jsonl", GOOD.encode(), None, "must be JSON"),
        Poison("empty.parquet", b"", None, "must not be empty"),
        Poison("cut.parquet", parquet([json.loads(FINE)])[:-20], None, "must be a Parquet file"),
        Poison("text.parquet", GOOD.encode(), None, "must be a Parquet file"),
        Poison("null.parquet", parquet([{"text": None, "label": "a"}]), None, "must not be empty"),
    ]


def _packed() -> list[Poison]:
    packed = gzip.compress(GOOD.encode())
    corrupt = bytearray(packed)
    corrupt[-6] ^= 255  # a bit of the sum
    bomb = bytes(257 * 2**20)
    return [
        Poison("good.csv.gz", packed, ROWS),
        Poison("two.csv.gz", packed + gzip.compress(b"so,ham\n"), [*ROWS, ("so", "ham")]),
        Poison("cut.csv.gz", packed[:-9], None, "must be a whole .gz file"),
        Poison("sum.csv.gz", bytes(corrupt), None, "must be a whole .gz file"),
        Poison("text.csv.gz", GOOD.encode(), None, "must be a whole .gz file"),
        Poison("nothing.csv.gz", gzip.compress(b""), None, "must not be empty"),
        Poison("bomb.csv.gz", gzip.compress(bytes(2**23), 1) * 33, None, "must unpack to at most"),
        Poison("cut.csv.bz2", bz2.compress(GOOD.encode())[:-5], None, "must be a whole .bz2"),
        Poison("cut.csv.xz", lzma.compress(GOOD.encode())[:-5], None, "must be a whole .xz"),
        Poison("one.zip", zipped({"a.csv": GOOD}), ROWS),
        Poison("two.zip", zipped({"a.csv": GOOD, "b.csv": GOOD}), None, "must have one file"),
        Poison("none.zip", zipped({}), None, "must have one file"),
        Poison("bomb.zip", zipped({"a.csv": bomb}), None, "must unpack to at most"),
        Poison("locked.zip", encrypted(), None, "must not be encrypted"),
        Poison("cut.zip", zipped({"a.csv": GOOD})[:70], None, "must be a whole .zip file"),
        Poison("zip.csv", zipped({"a.csv": GOOD}), None, "must be text, got a .zip"),
        Poison("gzip.csv", packed, None, "must be text, got a .gz"),
        Poison("parquet.csv", parquet([json.loads(FINE)]), None, "must be text, got a .parquet"),
    ]


def _sheets() -> list[Poison]:
    rows = [list(row) for row in ROWS]
    locked = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + struct.pack("<I", 0) * 200
    return [
        Poison("good.xlsx", book([["text", "label"], *rows]), ROWS),
        Poison("empty.xlsx", book([]), None, "must have rows"),
        Poison("locked.xlsx", locked, None, "a password"),
        Poison("cut.xlsx", book([["text", "label"], *rows])[:900], None, "must be an .xlsx"),
        Poison("zip.xlsx", zipped({"a.csv": GOOD}), None, "must be an .xlsx"),
    ]


def _columns() -> list[Poison]:
    num = 3000
    names = ",".join([f"c{n}" for n in range(num)])
    wide = f"{names},text,label\n{'1,' * num}fine,ham\n"
    return [
        Poison("wide.csv", wide.encode(), [ROWS[0]]),
        Poison(
            "wide_absent.csv", f"{names}\n{'1,' * (num - 1)}1\n".encode(), None, "and 2,970 more"
        ),
    ]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    for each in poisons():
        (folder / each.name).write_bytes(each.content)
    print(f"wrote {len(poisons())} files to {folder}")
