"""The location of a study: its files in `studies/NAME/`, its trials in a database.

The database is `study.db` in the study's folder (SQLite), or a PostgreSQL server that the argument
`storage=URL` or the variable FINESWEEP_STORAGE names. A URL contains a password, so it is kept only
in the environment of our processes, never in a configuration, file, log or message.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.machine.path import typed_path
from search.storage.option import check_options

DATABASE = "study.db"
STUDY_FILE = "study.json"  # in the folder of a study whose trials are on a server
VARIABLE = "FINESWEEP_STORAGE"
CONFIRM, CERTIFY = "confirm", "certify"
FOLLOW_UPS = (CONFIRM, CERTIFY)
"""The kinds of studies that follow another one, see `search.study.follow`."""
WORDS = ("storage=", "search.storage=")
MAX_NAME = 100
"""Most characters of a study's name; the suffix of a follow-up study does not count."""

_SUFFIXES = rf"(?:\.(?:{'|'.join(FOLLOW_UPS)}))*"
_PLAIN = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_NAME - 1}}}{_SUFFIXES}")
_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_BY_FILE = (
    *("worker", "status", "stop", "dashboard", "ask", "report", "tell", "delete"),
    *("sweep", "plan", "try", "drop", "certify", "evaluate", "export", "train"),
)
_OUR_PATHS = ("to=", "--config-dir=")
"""Beginnings of words that name folders of the user, not of the study."""
_DRIVER = "postgresql+psycopg"
# SQLite's locks fail there, and its write-ahead log needs memory shared within one host.
_NETWORK_DISKS = (
    *("nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afs", "9p"),
    *("ceph", "lustre", "gpfs", "beegfs", "glusterfs", "fuse.ceph", "fuse.glusterfs"),
    *("fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone"),
)


def folder_name(name: str) -> str:
    """Return the plain name of a study, for its folder, its storage and commands.

    Any other name is cleaned and gets a checksum as suffix, so that it is stable and unique.

    >>> folder_name("first-try")
    'first-try'
    >>> folder_name("../../etc")
    'etc-74ccf3c5'
    """
    if _PLAIN.fullmatch(name):
        return name
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:40].rstrip("-._") or "study"
    return f"{stem}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def study_folder(root: Path, name: str) -> Path:
    """Return the folder of the study with that plain name."""
    assert _PLAIN.fullmatch(name), name
    folder = root / "studies" / name
    for kind in FOLLOW_UPS:
        followed = folder.with_name(name.removesuffix(f".{kind}") or name)
        inside = follow_up_folder(followed, kind)
        if inside.name == name and inside.is_dir():
            return inside
    return folder


def follow_up_folder(folder: Path, kind: str) -> Path:
    """Return the folder of the study of a kind that follows the study in `folder`.

    It lies in that one, and both share a storage; its name is that of the study.
    """
    return folder / f"{folder.name}.{kind}"


def root_of(folder: Path) -> Path:
    """Return the folder in which commands run on the study in `folder`."""
    return folder.parents[2] if _is_follow_up(folder) else folder.parents[1]


def storage_of(folder: Path) -> str:
    """Return the URL of the storage of the study in `folder`, password included."""
    home = folder.parent if _is_follow_up(folder) else folder
    return os.environ.get(VARIABLE) or f"sqlite:///{home / DATABASE}"


def _is_follow_up(folder: Path) -> bool:
    return any(folder == follow_up_folder(folder.parent, kind) for kind in FOLLOW_UPS)


def is_local(url: str) -> bool:
    """Return whether the storage is an SQLite file."""
    return url.startswith("sqlite:")


def file_of(url: str) -> Path:
    """Return the file of a local storage."""
    return Path(url.removeprefix("sqlite:///"))


def shown(url: str) -> str:
    """Return a storage as text without its password.

    >>> shown("postgresql+psycopg://me:secret@db.example:5433/trials?sslpassword=x")
    'postgresql://db.example:5433/trials'
    """
    if is_local(url):
        return str(file_of(url))
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"postgresql://{host}{parts.path}"


def take_storage(command: str, words: Sequence[str]) -> list[str]:
    """Move `storage=URL` from the arguments into the environment; return the other arguments.

    Without it, the variable in the environment is checked. For a command on a study, the storage
    may be the path of its SQLite file: the working folder becomes the root of that study.

    Raises:
        ConfigError: It is neither a PostgreSQL URL nor such a file.

    """
    urls = [word.partition("=")[2] for word in words if word.startswith(WORDS)]
    where, url = VARIABLE, os.environ.get(VARIABLE, "")
    if urls:
        where, url = "storage", urls[-1].strip("'\"")
    if command in _BY_FILE and url.endswith(DATABASE):
        words = _with_whole_paths(words)
        _go_to(url)
        url = ""
    if url:
        os.environ[VARIABLE] = _checked(where, url)
    else:
        os.environ.pop(VARIABLE, None)
    return [word for word in words if not word.startswith(WORDS)]


def forget_storage() -> None:
    """Remove `storage=URL` from `sys.argv`, which W&B and provenance store."""
    sys.argv[1:] = [word for word in sys.argv[1:] if not word.startswith(WORDS)]


def _with_whole_paths(words: Sequence[str]) -> list[str]:
    """Return the words with the paths that stay those of the present working folder."""
    whole = list[str]()
    for word in words:
        key, _, path = word.partition("=")
        if whole and whole[-1] == "--config-dir":
            whole.append(str(typed_path(word).absolute()))
        elif word.startswith(_OUR_PATHS):
            whole.append(f"{key}={typed_path(path).absolute()}")
        else:
            whole.append(word)
    return whole


def _go_to(path: str) -> None:
    file = typed_path(path.removeprefix("sqlite:///")).absolute()
    if not file.is_file() or file.parent.parent.name != "studies":
        rule = f"must be a postgresql:// URL or the path of a study's {DATABASE}"
        raise ConfigError(Problem("storage", rule, Verbatim(str(file))))
    os.chdir(file.parent.parent.parent)


def check_disk(folder: Path) -> None:
    """Refuse an SQLite study on a network disk."""
    import psutil

    path = folder.resolve()
    disks = [
        disk for disk in psutil.disk_partitions(all=True) if path.is_relative_to(disk.mountpoint)
    ]
    disk = max(disks, key=lambda disk: len(disk.mountpoint), default=None)
    if disk is not None and disk.fstype.lower() in _NETWORK_DISKS:
        rule = "an SQLite study must be on a local disk: network disks lose its locks"
        fix = f"Set {VARIABLE}=postgresql://USER:PASSWORD@HOST/DATABASE, or change folder."
        raise ConfigError(Problem("study", rule, Verbatim(f"{path} on {disk.fstype}"), fix))


def _checked(where: str, url: str) -> str:
    fix = "Write postgresql://USER:PASSWORD@HOST:PORT/DATABASE; without one, a study is a file."
    rule = "must be the URL of a PostgreSQL database"
    scheme, mark, rest = url.partition("://")
    if not mark or scheme not in _SCHEMES:
        # Do not show it: it may contain a password.
        got = Verbatim(f"one that starts with {scheme}://" if mark else "another scheme")
        raise ConfigError(Problem(where, rule, got, fix))
    server, _, path = rest.partition("?")[0].partition("/")
    if server.count("@") > 1 or "@" in path:
        got = Verbatim("one with more than one @")
        fix = "Write @ in a password as %40, : as %3A and / as %2F."
        raise ConfigError(Problem(where, rule, got, fix))
    try:
        parts = urlsplit(url)
        has_all = bool(parts.path.strip("/")) and (parts.port is None or parts.port > 0)
    except ValueError:
        has_all = False
    if not has_all:
        got = Verbatim("one without a database, or with an invalid port")
        raise ConfigError(Problem(where, rule, got, fix))
    check_options(where, parts.query)
    return f"{_DRIVER}://{rest}"
