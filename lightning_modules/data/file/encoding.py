"""From bytes to text: a byte-order mark, UTF-8, or an encoding that the bytes show.

What stays in doubt is refused, with the line; what is read in another encoding than UTF-8 is said,
with a line that shows whether it is right.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lightning_modules.data.file.codepage import recognized
from lightning_modules.data.file.form import AUTO, Form
from lightning_modules.error import DataError, Problem, Verbatim

UTF8 = "utf-8"
NUM_EXAMINED = 200_000
"""Bytes in which zeros are counted."""
MARKS = (  # the longer ones first: UTF-32's begins like UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MARK = "\ufeff"
_NAMES = {
    "cp1252": "Windows-1252",
    "cp932": "Shift-JIS",
    "gb18030": "GBK",
    "mac_roman": "Mac Roman",
}
_HIGH = re.compile(rb"[\x80-\xff]")
_HIGH_RUN = re.compile(rb"[\x80-\xff]+")
_UTF8_LIKE = re.compile(
    rb"(?:[\xc0-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf7][\x80-\xbf]{3})+"
)
"""Overlong characters and halves of surrogate pairs too, which are no UTF-8."""
CONTROL = re.compile(r"[\x80-\x84\x86-\x9f]")  # U+0085 is a line end


@dataclass(frozen=True)
class Decoded:
    """A file's text.

    Attributes:
        text: The text, without a byte-order mark.
        encoding: Its encoding for people, e.g. "UTF-8".
        notes: What a user must know about it.
        codec: Its encoding for Python.

    """

    text: str
    encoding: str
    notes: tuple[str, ...] = ()
    codec: str = UTF8


def decoded(content: bytes, name: str, form: Form) -> Decoded:
    """Return the text of a file.

    Args:
        content: Its bytes.
        name: What messages call it.
        form: `encoding` is used if it is not `auto`.

    Raises:
        DataError: The bytes are not of the given encoding, or of none that is recognized.

    """
    if form.encoding != AUTO:
        return _given(content, name, form)
    for mark, encoding in MARKS:
        if content.startswith(mark):
            rest = content[len(mark) :]
            return _read(rest, encoding, "its byte-order mark says so", name, form)
    encoding, sure = _found(content, name, form)
    return _read(content, encoding, sure, name, form)


def _found(content: bytes, name: str, form: Form) -> tuple[str, str]:
    """Return the encoding of bytes without a mark, and how sure it is."""
    wide = _wide(content)
    if wide is not None:
        return wide, "likely: every second byte is 0"
    if b"\x1b$" in content and not _HIGH.search(content):
        return "iso2022_jp", "likely"
    try:
        content.decode(UTF8)
    except UnicodeDecodeError as error:
        found = None if _is_broken_utf8(content) else recognized(content)
        if found is None:
            raise DataError(_not_utf8(content, error, name, form)) from None
        return found
    return UTF8, "sure"


def _read(content: bytes, encoding: str, sure: str, name: str, form: Form) -> Decoded:
    text = _strictly(content, encoding, name, form)
    found = Decoded(text, "UTF-8") if encoding == UTF8 else _other(text, encoding, sure, name, form)
    return _checked(found, name)


def _given(content: bytes, name: str, form: Form) -> Decoded:
    encoding = codecs.lookup(form.encoding).name
    # A mark also says which of the two byte orders "utf-16" is.
    marks = [(m, each) for m, each in MARKS if content.startswith(m) and each.startswith(encoding)]
    mark, exact = marks[0] if marks else (b"", encoding)
    text = _strictly(content[len(mark) :], exact, name, form)
    return _checked(Decoded(text, "UTF-8" if encoding == UTF8 else form.encoding), name)


def _checked(found: Decoded, name: str) -> Decoded:
    """Refuse characters that no text has, and take off a second byte-order mark."""
    at = found.text.find("\0")
    if at >= 0:
        line = found.text.count("\n", 0, at) + 1
        fix = "Remove it, or set the file's encoding."
        raise DataError(Problem(f"{name}:{line}", "must be text", Verbatim("a NUL byte"), fix))
    if found.codec == UTF8 and (control := CONTROL.search(found.text)) is not None:
        line = found.text.count("\n", 0, control.start()) + 1
        note = (
            f"{name}:{line}: has the control character U+{ord(control[0]):04X}: was the file "
            "converted from Windows-1252 as if from Latin-1?"
        )
        found = replace(found, notes=(*found.notes, note))
    if not found.text.startswith(_MARK):
        return found
    note = f"{name}: a second byte-order mark at its start was left out"
    return replace(found, text=found.text.lstrip(_MARK), notes=(*found.notes, note))


def _wide(content: bytes) -> str | None:
    """Return UTF-16 without a mark, if zeros are at every second place only."""
    head = content[:NUM_EXAMINED]
    zeros = (head[0::2].count(0), head[1::2].count(0))
    if len(content) % 2 or max(zeros) < max(4, len(head) / 10) or min(zeros) > 0:
        return None
    return "utf-16-le" if zeros[1] else "utf-16-be"


def _is_broken_utf8(content: bytes) -> bool:
    """Return whether the bytes are UTF-8 but for a few, or end within a character."""
    text = content.decode(UTF8, errors="replace")
    num_broken = text.count("\ufffd")
    num_whole = sum(character > "\x7f" for character in text) - num_broken
    if num_whole >= num_broken or all(map(_UTF8_LIKE.fullmatch, _HIGH_RUN.findall(content))):
        return True
    # One character whose rest is missing, at the end of the file.
    head = content[: -len(content[-3:])] if len(content) > 3 else b""
    return not _HIGH.search(head) and _is_cut(content)


def _is_cut(content: bytes) -> bool:
    decoder = codecs.getincrementaldecoder(UTF8)()
    try:
        decoder.decode(content)
    except UnicodeDecodeError:
        return False
    return True


def _strictly(content: bytes, encoding: str, name: str, form: Form) -> str:
    try:
        return content.decode(encoding)
    except UnicodeError as error:
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        line = content.count(b"\n", 0, start) + 1
        got = Verbatim(f"byte 0x{content[start]:02x}")
        rule = f"must be {_shown(encoding)}"
        fix = "" if form.encoding == AUTO else f"Set {form.prefix}encoding to the file's own."
        raise DataError(Problem(f"{name}:{line}", rule, got, fix)) from None


def _other(text: str, encoding: str, sure: str, name: str, form: Form) -> Decoded:
    """Return a text in another encoding than UTF-8, with a line of it that shows."""
    number, line = next(_samples(text), (1, text.split("\n", 1)[0]))
    sample = line.strip()[:80]
    note = (
        f"{name}: read as {_shown(encoding)} ({sure}), e.g. line {number}: {sample}. "
        f"{form.prefix}encoding=NAME takes another"
    )
    return Decoded(text, _shown(encoding), (note,), encoding)


def _samples(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines with characters beyond ASCII."""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.isascii():
            yield number, line


def _shown(encoding: str) -> str:
    return _NAMES.get(encoding, encoding.upper().replace("_", "-"))


def _not_utf8(content: bytes, error: UnicodeDecodeError, name: str, form: Form) -> Problem:
    line = content.count(b"\n", 0, error.start) + 1
    got = Verbatim(f"byte 0x{content[error.start]:02x}")
    rule = "must be UTF-8 or in an encoding that is recognized"
    fix = f"Mend the line, or set {form.prefix}encoding to the file's, e.g. gb18030 or cp1252."
    return Problem(f"{name}:{line}", rule, got, fix)
