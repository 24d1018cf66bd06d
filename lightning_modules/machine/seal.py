"""A folder whose files carry sums, so that it is believed only as it was written.

A power failure may leave parts of files, and a disk may lose bits. Code that maps such a file into
memory does not raise an error: the process is killed, or computes with other numbers.

Cost: one pass over the bytes, at about 1 GB/s (CRC-32, which finds accidents, not forgeries).
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

from lightning_modules.machine.file import sync

SEAL = "sums.json"
"""The file with the size and the sum of each other file of its folder."""
_CHUNK_BYTES = 2**20


def seal(folder: Path) -> int:
    """Write the sums of the folder's files, and sync all to the disk; return their bytes.

    Args:
        folder: A folder of files, without folders in it.

    """
    files = sorted(folder.iterdir())
    sums = {path.name: [path.stat().st_size, _sum_of(path)] for path in files}
    (folder / SEAL).write_text(json.dumps(sums))
    for path in (*files, folder / SEAL, folder):
        sync(path)
    return sum(num_bytes for num_bytes, _ in sums.values())


def damage_of(folder: Path) -> str | None:
    """Return what is wrong with a sealed folder; None if it is as it was written.

    Raises:
        PermissionError: This user must not read it.

    """
    try:
        sums = json.loads((folder / SEAL).read_text())
        for name, (num_bytes, expected) in sums.items():
            path = folder / name
            if (found := path.stat().st_size) != num_bytes:
                return f"{name} has {found:,} bytes instead of {num_bytes:,}"
            if _sum_of(path) != expected:
                return f"{name} has other content than was written"
    except PermissionError:
        raise
    except OSError as error:  # one of reading, e.g. of a bad sector, names no file
        name = Path(str(error.filename or folder)).name
        return f"{name}: {error.strerror}"
    except (ValueError, TypeError, AttributeError):
        return f"{SEAL} cannot be read"
    return None


def _sum_of(path: Path) -> int:
    found = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            found = zlib.crc32(chunk, found)
    return found
