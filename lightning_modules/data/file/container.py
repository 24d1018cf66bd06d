"""The one file within a compressed file: .gz, .bz2, .xz, or .zip with one member."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from lightning_modules.error import DataError, Problem, Verbatim, reason_of

MAX_RATIO = 100
MAX_UNCHECKED = 256 * 2**20
"""Bytes that may come of any file; more only if they are at most `MAX_RATIO` times its own."""
_CHUNK = 2**20
_BROKEN = (  # what the standard library raises for a broken container
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    ValueError,
)


@dataclass(frozen=True)
class Opened:
    """A file's bytes.

    Attributes:
        content: The bytes.
        name: The name within the container, whose ending says what they are.
        notes: What was left out.

    """

    content: bytes
    name: str
    notes: tuple[str, ...] = ()


def opened(path: Path, member: str | None = None) -> Opened:
    """Return the bytes of a file, unpacked if it is a container.

    Args:
        path: The file.
        member: The file in a .zip to read; None if it has one only.

    Raises:
        DataError: It is broken, encrypted or unpacks to too much, or a .zip has several files.

    """
    packed = path.read_bytes()
    ending = path.suffix.lower()
    if ending == ".zip":
        return _of_zip(path, packed, member)
    unpack = _UNPACKERS.get(ending)
    if unpack is None:
        return Opened(packed, path.name)
    try:
        with unpack(io.BytesIO(packed)) as stream:
            return Opened(_limited(path, stream, len(packed)), path.stem)
    except _BROKEN as error:
        rule = f"must be a whole {ending} file"
        is_packed = packed.startswith(_STARTS[ending])
        fix = (
            "Download it again." if is_packed else f"Rename it without {ending} if it is unpacked."
        )
        raise DataError(Problem(str(path), rule, reason_of(error), fix)) from None


_STARTS = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7zXZ"}
_UNPACKERS: Mapping[str, Callable[[IO[bytes]], Any]] = {
    ".gz": lambda stream: gzip.GzipFile(fileobj=stream),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}
PACKED = (*_UNPACKERS, ".zip")
"""Endings of containers."""


def _of_zip(path: Path, packed: bytes, member: str | None) -> Opened:
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            infos = [each for each in archive.infolist() if _is_data(each.filename)]
            info, notes = _chosen(path, infos, member)
            if info.flag_bits & 1:
                fix = "Unpack it."
                raise DataError(Problem(str(path), "must not be encrypted", info.filename, fix))
            with archive.open(info) as stream:
                content = _limited(path, stream, max(info.compress_size, 1))
            return Opened(content, PurePosixPath(info.filename).name, notes)
    except _BROKEN as error:
        rule = "must be a whole .zip file"
        raise DataError(Problem(str(path), rule, reason_of(error), "Download it again.")) from None
    except NotImplementedError as error:
        rule = "must be packed in a way that Python knows"
        raise DataError(Problem(str(path), rule, Verbatim(str(error)), "Unpack it.")) from None


def _chosen(
    path: Path, infos: list[zipfile.ZipInfo], member: str | None
) -> tuple[zipfile.ZipInfo, tuple[str, ...]]:
    names = [each.filename for each in infos]
    if member is not None:
        chosen = [each for each in infos if each.filename == member]
        if not chosen:
            fix = f"It has {', '.join(names[:8]) or 'no file'}."
            raise DataError(Problem(str(path), "must have the file that is named", member, fix))
        return chosen[0], ()
    chosen = [each for each in infos if not is_about(each.filename)] or infos
    if len(chosen) != 1:
        rule, got = "must have one file", Verbatim(", ".join(names[:8]) or "none")
        fix = f"Name one: {path}/{names[0]}." if names else ""
        raise DataError(Problem(str(path), rule, got, fix))
    others = [name for name in names if name != chosen[0].filename]
    if not others:
        return chosen[0], ()
    return chosen[0], (f"{path}: read {chosen[0].filename}, not {', '.join(others)}",)


def _is_data(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return not (name.endswith("/") or "__MACOSX" in parts or parts[-1].startswith("."))


def is_about(name: str) -> bool:
    """Return whether a file is about others, and no data itself.

    >>> is_about("LICENSE"), is_about("reviews.README.1.0.txt"), is_about("readmes.csv")
    (True, True, False)
    """
    words = PurePosixPath(name).name.lower().split(".")
    return not {"readme", "license", "licence", "copying"}.isdisjoint(words)


def _limited(path: Path, stream: IO[bytes], packed_size: int) -> bytes:
    """Return all bytes of a stream; refuse more than the packed ones can honestly hold."""
    limit = max(MAX_UNCHECKED, MAX_RATIO * packed_size)
    found = bytearray()
    while chunk := stream.read(_CHUNK):
        found += chunk
        if len(found) > limit:
            rule = f"must unpack to at most {limit / 2**20:,.0f} MiB"
            raise DataError(Problem(str(path), rule, Verbatim("more"), "Unpack it."))
    return bytes(found)
