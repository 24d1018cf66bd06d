"""The manifest of an export, `finesweep.json`, and the sums of the files beside it.

The sums find files that were damaged, mixed up or changed after the export; they are no signature.
Exports of earlier versions have none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import Any

from lightning_modules.model.files.fault import Fault
from lightning_modules.model.files.text import check_file, is_snapshot, read_object

MANIFEST, SUMS = "finesweep.json", "files"
LARGE_BYTES = 200_000_000
"""Files of more bytes are summed when they are loaded, not by every check."""
_READ = ("*.json", "*.safetensors", "*.model", "*.jinja", "*.bin", "vocab.txt", "merges.txt")
"""Files that change what is loaded, so none may be beside those with a sum."""
_SUMMED = (*_READ, "*.py", "*.spm", "*.codes", "*.tiktoken", "*.tokenizer")
_BLOCK = 2**22


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of an export; raise Fault if it cannot be used."""
    values = read_object(folder, MANIFEST)
    labels, length = values.get("labels"), values.get("max_length")
    task, columns = values.get("task"), values.get("columns")
    if not isinstance(labels, list) or not all(isinstance(each, str) for each in labels):
        raise _fault("a list of texts", "labels", labels)
    if len(set(labels)) < len(labels):
        raise _fault("different texts", "labels", labels)
    if type(length) is not int or length < 1:
        raise _fault("a whole number > 0", "max_length", length)
    if not isinstance(columns, Mapping) or not all(
        each is None or isinstance(each, str) for each in columns.values()
    ):
        raise _fault("names", "columns", columns)
    if not isinstance(task, Mapping) or not isinstance(task.get("task"), str):
        raise _fault("the task and its settings", "task", task)
    for name in task:
        if name != "task" and not name.startswith("task."):
            fix = "Name your package yourself on the command line, if you trust it."
            fix = fix if name == "search.plugins" else "Export the model again."
            raise Fault(MANIFEST, "must have settings of the task alone", name, fix)
    for name in ("base", "base_commit", "strategy", "prompt"):
        if values.get(name) is not None and not isinstance(values[name], str):
            raise _fault("a text", name, values[name])
    return values


def write_sums(folder: Path) -> dict[str, str]:
    """Return the sums of the files that an export has, by their paths in it."""
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and _fits(path.name, _SUMMED)
    )
    names = (path.relative_to(folder).as_posix() for path in files)
    return {name: _sum_of(folder / name) for name in names if name != MANIFEST}


def check_sums(folder: Path, *, large: bool) -> None:
    """Raise Fault if a file is not the one that was exported.

    An export that was uploaded to the hub is downloaded in parts, and without its subfolders.

    Args:
        folder: The export.
        large: Whether large files are read, too.

    """
    sums = read_object(folder, MANIFEST).get(SUMS)
    if sums is None:
        return
    if not isinstance(sums, Mapping):
        raise _fault("the sums of files", SUMS, sums)
    is_partial = is_snapshot(folder)
    fix = f'Copy the export again; if you changed it yourself, remove "{SUMS}" from {MANIFEST}.'
    for name, wanted in sums.items():
        if name.startswith("/") or ".." in Path(name).parts:
            raise Fault(MANIFEST, "must have sums of files in the folder", name)
        path = folder / name
        if is_partial and not path.exists():
            continue
        check_file(path, name)
        if (large or path.stat().st_size <= LARGE_BYTES) and _sum_of(path) != wanted:
            found = f"{_sum_of(path)[:12]}..."
            rule = f"must have the sha256 {str(wanted)[:12]}... of {MANIFEST}"
            raise Fault(name, rule, found, fix)
    for path in sorted(folder.iterdir()):
        if path.name not in sums and path.name != MANIFEST and _fits(path.name, _READ):
            rule = f"must be among the files of {MANIFEST}"
            raise Fault(path.name, rule, "one that was not exported", fix)


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, each) for each in patterns)


def _sum_of(path: Path) -> str:
    found = path.stat()
    return _sum(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=256)
def _sum(path: Path, size: int, time: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _fault(what: str, name: str, got: Any) -> Fault:
    shown = "none" if got is None else repr(got)[:100]
    return Fault(MANIFEST, f"must have {what} as {name}", shown, "Export the model again.")
