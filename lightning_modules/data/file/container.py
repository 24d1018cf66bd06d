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
from functools import partial
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


class BrokenError(Exception):
    """A container is broken, or unpacks to too much; `opened` says what."""


@dataclass(frozen=True)
class Source:
    """A file, or what is in a container, that is read from its start again and again.

    Attributes:
        path: What messages call it.
        file: The file on the disk.
        name: The name within the container, whose ending says what the bytes are.
        open: Returns the bytes; raises `BrokenError`, and what is read from does so, too.
        notes: What was left out.

    """

    path: Path
    file: Path
    name: str
    open: Callable[[], IO[bytes]]
    notes: tuple[str, ...] = ()

    @property
    def ending(self) -> str:
        """The ending of its name, e.g. ".csv"."""
        return PurePosixPath(self.name).suffix.lower()

    @property
    def is_packed(self) -> bool:
        """Whether it is in a container."""
        return self.file.suffix.lower() in PACKED


def source_of(path: Path, file: Path, member: str | None = None) -> Source:
    """Return a file as a source.

    Args:
        path: What messages call it.
        file: The file.
        member: The file in a .zip to read; None if it has one only.

    Raises:
        BrokenError: It is a broken container.
        DataError: A .zip has several files.

    """
    ending = file.suffix.lower()
    if ending == ".zip":
        return _source_in_zip(path, file, member)
    unpack = _UNPACKERS.get(ending)
    if unpack is None:
        return Source(path, file, file.name, lambda: file.open("rb"))
    return Source(path, file, file.stem, partial(_stream, file, unpack))


def _source_in_zip(path: Path, file: Path, member: str | None) -> Source:
    try:
        with zipfile.ZipFile(file) as archive:
            infos = [each for each in archive.infolist() if _is_data(each.filename)]
            info, notes = _chosen(file, infos, member)
    except (*_BROKEN, NotImplementedError) as error:
        raise BrokenError from error
    name = PurePosixPath(info.filename).name

    def unpack(packed: IO[bytes]) -> IO[bytes]:
        return zipfile.ZipFile(packed).open(info)

    return Source(path, file, name, partial(_stream, file, unpack), notes)


def _stream(file: Path, unpack: Callable[[IO[bytes]], IO[bytes]]) -> IO[bytes]:
    packed = file.open("rb")
    try:
        unpacked = unpack(packed)
    except (*_BROKEN, NotImplementedError, RuntimeError) as error:  # the last one if encrypted
        packed.close()
        raise BrokenError from error
    limit = _limit(file.stat().st_size)
    return io.BufferedReader(_Unpacked(unpacked, packed, limit), _CHUNK)


class _Unpacked(io.RawIOBase):
    """Unpacked bytes; at most `limit` of them."""

    def __init__(self, stream: IO[bytes], packed: IO[bytes], limit: int) -> None:
        self._stream, self._packed, self._left = stream, packed, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            found = self._stream.read(len(buffer))
        except _BROKEN as error:
            raise BrokenError from error
        self._left -= len(found)
        if self._left < 0:
            raise BrokenError
        buffer[: len(found)] = found
        return len(found)

    def close(self) -> None:
        self._stream.close()
        self._packed.close()
        super().close()


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
    limit = _limit(packed_size)
    found = bytearray()
    while chunk := stream.read(_CHUNK):
        found += chunk
        if len(found) > limit:
            rule = f"must unpack to at most {limit / 2**20:,.0f} MiB"
            raise DataError(Problem(str(path), rule, Verbatim("more"), "Unpack it."))
    return bytes(found)


def _limit(packed_size: int) -> int:
    return max(MAX_UNCHECKED, MAX_RATIO * packed_size)
