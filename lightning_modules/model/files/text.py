"""Read the small files of a model, which are in JSON."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from lightning_modules.model.files.fault import Fault

MAX_BYTES = 256 * 2**20
"""More than any configuration, tokenizer or index has."""


def read_object(folder: Path, file: str) -> dict[str, Any]:
    """Return the JSON object in a file of the folder; raise Fault if there is none."""
    rule = "must be a JSON object"
    values = _read(folder, file, rule)
    if not isinstance(values, dict):
        raise Fault(file, rule, _KINDS.get(type(values), "a number"))
    return values


def read_list(folder: Path, file: str) -> list[Any]:
    """Return the JSON list in a file of the folder; raise Fault if there is none."""
    rule = "must be a JSON list"
    values = _read(folder, file, rule)
    if not isinstance(values, list):
        raise Fault(file, rule, _KINDS.get(type(values), "a number"))
    return values


def _read(folder: Path, file: str, rule: str) -> Any:
    path = folder / file
    check_file(path, file)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Fault(file, f"must have at most {MAX_BYTES >> 20} MiB", "a larger one")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Fault(file, "must be readable", str(error.strerror), "See who may read it.") from None
    except RecursionError:
        raise Fault(file, rule, "one that is nested too deeply") from None
    except ValueError as error:
        raise Fault(file, rule, f"something else ({str(error).splitlines()[0]})") from None


_KINDS: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    type(None): "null",
    bool: "true or false",
}


def check_file(path: Path, file: str) -> None:
    """Raise Fault unless the path is a plain file, in the model's folder or linked within it.

    In the hub's cache a commit's files are links to those of all commits of the same model.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        got = "a link to a file that is not there" if path.is_symlink() else "no such file"
        raise Fault(file, "must be there", got) from None
    except OSError as error:
        raise Fault(file, "must be readable", str(error.strerror)) from None
    if not stat.S_ISREG(found.st_mode):
        raise Fault(file, "must be a plain file", "something else")
    if path.is_symlink() and not path.resolve().is_relative_to(_home(path.parent)):
        fix = "Copy the file itself into the folder, e.g. with cp -L."
        raise Fault(file, "must be in the folder itself", f"a link to {path.readlink()}", fix)


def is_snapshot(folder: Path) -> bool:
    """Return whether a folder is a commit in the hub's cache, with the files asked for so far."""
    return folder.resolve().parent.name == "snapshots"


def _home(folder: Path) -> Path:
    """Return where links in a folder of a model, or in a folder within it, may lead."""
    folder = folder.resolve()
    commit = next((each for each in (folder, folder.parent) if is_snapshot(each)), None)
    return folder if commit is None else commit.parent.parent
