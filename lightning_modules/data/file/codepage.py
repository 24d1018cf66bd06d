"""Recognize the encoding of a text that is not UTF-8, if one explains its bytes and others do not.

chardet names the candidates; charset-normalizer takes Shift-JIS for Korean and Windows-1252 for DOS
code pages. For a few accents in plain English both tend to rare encodings, so Windows-1252 is tried
first there: letters of Western languages and typographic signs only. Mac Roman, which old Excel for
Mac writes, is tried last, by the same letters and signs.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from itertools import pairwise

WESTERN, MAC = "cp1252", "mac_roman"
NUM_EXAMINED = 200_000
"""Bytes of the lines with high bytes that are examined."""
_WESTERN_LETTERS = frozenset("éèêàâçôîûùëïüäöñáíóúßÉÈÊÀÂÇÔÎÛÙËÏÜÄÖÑÁÍÓÚ")
_WESTERN_SIGNS = frozenset(
    "\u2018\u2019\u201c\u201d\u201e\u2013\u2014\u2026\u2022\u20ac\u2122"
    "\u2039\u203a\xa0\xa1\xa3\xa5\xa7\xa9\xab\xae\xb0\xbb\xbf"
)
_LATIN = ("windows-1250", "windows-1252", "windows-1254", "windows-1257")
_MULTI_BYTE = ("gb18030", "cp932", "big5", "big5hkscs", "euc_kr", "cp949", "euc_jp")
MAX_WESTERN, MIN_RUN, MIN_CONFIDENCE, MIN_LEAD = 3, 3, 0.1, 1.05
_HIGH = re.compile(rb"[\x80-\xff]")
_HIGH_RUN = re.compile(rb"[\x80-\xff]+")
_COMMON = re.compile(
    r"[\u2018\u2019\u201c\u201d\u2014\u2026\xb7\u3000-\u30ff\u4e00-\u9fff\uac00-\ud7a3\uff00-\uffef]"
)
"""Signs, kana, Chinese characters, Korean syllables, and wide letters."""


def recognized(content: bytes) -> tuple[str, str] | None:
    """Return the encoding of bytes that are not UTF-8, and how sure it is; None if in doubt."""
    lines = _high_lines(content)
    return _recognized(content, lines) or ((MAC, "likely") if _is_mac(lines) else None)


def _recognized(content: bytes, lines: bytes) -> tuple[str, str] | None:
    if _is_western(lines):
        return WESTERN, "likely"
    encoding, confidence, _ = _candidates(lines)
    if encoding in _MULTI_BYTE and _fits(content, encoding) and _is_of_script(lines, encoding):
        return encoding, "likely"
    runs = [len(run) for run in _HIGH_RUN.findall(lines)]
    if sum(runs) >= MIN_RUN * len(runs):  # whole words: an alphabet of its own, e.g. Cyrillic
        is_clear = encoding not in _MULTI_BYTE and confidence >= MIN_CONFIDENCE
        return (encoding, "likely") if is_clear and _fits(content, encoding) else None
    encoding, confidence, others = _candidates(lines, _LATIN)
    if not _fits(content, encoding):
        return None
    text = lines.decode(encoding)
    second = max((each for name, each in others if not _reads_as(lines, name, text)), default=0.0)
    is_clear = confidence >= MIN_LEAD * second and not _is_odd(text)
    return (encoding, "likely") if is_clear else None


def _candidates(
    lines: bytes, among: Sequence[str] | None = None
) -> tuple[str, float, list[tuple[str, float]]]:
    """Return the most likely encoding with its confidence, and the others."""
    import chardet

    found = [
        (_python_name(each["encoding"]), each["confidence"])
        for each in chardet.detect_all(
            lines,
            ignore_threshold=True,
            encoding_era=chardet.EncodingEra.MODERN_WEB,
            include_encodings=among,
        )
    ]
    (encoding, confidence), *others = found
    return encoding, confidence, others


def _reads_as(lines: bytes, encoding: str, text: str) -> bool:
    try:
        return lines.decode(encoding) == text
    except UnicodeDecodeError:
        return False


def _high_lines(content: bytes) -> bytes:
    found, size = [], 0
    for line in content.split(b"\n"):
        if _HIGH.search(line):
            found.append(line[:NUM_EXAMINED])
            size += len(line)
            if size >= NUM_EXAMINED:
                break
    return b"\n".join(found) + b"\n"


def _is_western(lines: bytes) -> bool:
    """Return whether only a few letters of Western languages and their punctuation are high."""
    try:
        text = lines.decode(WESTERN)
    except UnicodeDecodeError:
        return False
    high = {character for character in text if character > "\x7f"}
    is_known = high <= _WESTERN_LETTERS | _WESTERN_SIGNS
    num_letters = len(high & _WESTERN_LETTERS)
    has_question = "?" in text or "¿" not in text  # else it is a letter of another language
    return is_known and num_letters <= MAX_WESTERN and has_question and not _is_odd(text)


def _is_mac(lines: bytes) -> bool:
    """Return whether all high bytes are letters of Western languages and signs of Mac Roman."""
    text = lines.decode(MAC)
    high = {character for character in text if character > "\x7f"}
    return high <= _WESTERN_LETTERS | _WESTERN_SIGNS and not _is_odd(text)


def _is_odd(text: str) -> bool:
    """Return whether words have what no word has: "cafÃ" is half a character of UTF-8."""
    return any(
        after > "\x7f" and after.isupper() and before.islower() for before, after in pairwise(text)
    )


def _is_of_script(lines: bytes, encoding: str) -> bool:
    """Return whether nearly all characters are common ones of the encoding's script."""
    text = lines.decode(encoding, errors="replace")
    high = [character for character in text if character > "\x7f"]
    common = sum(bool(_COMMON.match(character)) for character in high)
    return common >= 0.97 * len(high)


def _fits(content: bytes, encoding: str) -> bool:
    if not encoding or encoding.startswith("utf"):
        return False
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _python_name(name: str | None) -> str:
    try:
        found = "" if name is None else codecs.lookup(name).name
    except LookupError:
        return ""
    return {"shift_jis": "cp932", "gbk": "gb18030", "gb2312": "gb18030"}.get(found, found)
