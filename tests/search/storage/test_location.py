from __future__ import annotations

import os
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lightning_modules.error import ConfigError
from search.storage.location import (
    VARIABLE,
    check_disk,
    folder_name,
    forget_storage,
    shown,
    storage_of,
    study_folder,
    take_storage,
)

PLAIN = ["a", "first", "2024-run_3.b", "007", "x" * 100, f"{'x' * 100}.certify"]


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_name_is_unchanged(name: str) -> None:
    assert folder_name(name) == name


UNSAFE = [
    *("../x", "a/b", "/etc/passwd", "..", ".", ".hidden", "-x", "a b", "a\n", "a\0b", "~", "C:\\x"),
    *(
        "x" * 101,
        f"{'x' * 101}.certify",
        "x" * 200,
        "x" * 600,
        "😀",
        "\uff41",
        "a\u202eb",
        "\ud800",
        "con|nul",
        "%2e%2e%2f",
        "$HOME",
        " ",
    ),
]


@pytest.mark.parametrize("name", UNSAFE, ids=ascii)
def test_any_other_name_gets_a_unique_plain_name(name: str, here: Path) -> None:
    plain = folder_name(name)
    assert plain == folder_name(name) == folder_name(plain)
    assert len(plain) <= 60 and plain.isascii() and "/" not in plain
    folder = study_folder(here, plain)
    folder.mkdir(parents=True)
    assert folder.resolve().parent == (here / "studies").resolve()


def test_different_names_get_different_plain_names() -> None:
    assert len({folder_name(name) for name in UNSAFE}) == len(UNSAFE)


@pytest.fixture(autouse=True)
def own_words(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "argv", ["finesweep"])
    monkeypatch.setenv(VARIABLE, "")
    yield


def test_without_a_url_a_study_is_a_file_in_its_folder(here: Path) -> None:
    assert take_storage("sweep", ["study=s"]) == ["study=s"]
    assert storage_of(here / "studies" / "s") == f"sqlite:///{here}/studies/s/study.db"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            "schema=public",
            "an option must be known to PostgreSQL's driver, got 'schema'. Remove it.",
        ),
        ("sslmod=require", "got 'sslmod'. Did you mean sslmode?"),
        ("sslmode=on", 'driver knows, got invalid sslmode value: "on".'),
        ("connect_timeout=soon", "connect_timeout must be a whole number, got 'soon'."),
        ("application_name=x&target_session_attrs=any%27", "target_session_attrs value"),
    ],
)
@pytest.mark.usefixtures("here")
def test_options_are_checked_before_connecting(options: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        take_storage("status", [f"storage=postgresql://u:secret@127.0.0.1:1/db?{options}"])
    (line,) = str(error.value).splitlines()
    assert line.startswith("storage: ") and problem in line and "secret" not in line


@pytest.mark.usefixtures("here")
def test_known_options_are_taken() -> None:
    url = "postgresql://u:p@127.0.0.1:1/db?sslmode=require&connect_timeout=3&password=a b"
    assert take_storage("status", [f"storage={url}"]) == []


@pytest.mark.parametrize("key", ["storage", "search.storage"])
def test_a_url_moves_from_the_arguments_to_the_environment(here: Path, key: str) -> None:
    word = f"{key}=postgresql://me:secret@db:5433/trials?sslmode=require"
    sys.argv += ["sweep", word, "study=s"]
    forget_storage()
    assert take_storage("sweep", ["study=s", word]) == ["study=s"]
    assert "secret" not in " ".join(sys.argv)
    url = storage_of(here)
    assert url == "postgresql+psycopg://me:secret@db:5433/trials?sslmode=require"
    assert shown(url) == "postgresql://db:5433/trials"


def test_the_argument_takes_precedence_over_the_variable(
    monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    monkeypatch.setenv(VARIABLE, "postgres://a/b")
    take_storage("sweep", [])
    assert os.environ[VARIABLE] == "postgresql+psycopg://a/b"
    take_storage("sweep", ["storage=postgresql://c/d"])
    assert os.environ[VARIABLE] == "postgresql+psycopg://c/d"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:secret@db/trials",
        "me:secret@db/trials",
        "postgresql://me:secret@db",
        "postgresql://me:sec@ret@db/trials",
        "postgresql://me:12/34secret@db/trials",
        "postgresql://me:secret@db:many/trials",
        "sqlite:///secret/other.db",
    ],
)
def test_an_invalid_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^storage: must be the URL of a PostgreSQL") as error:
        take_storage("sweep", [f"storage={url}"])
    assert "sec" not in str(error.value)


def test_a_command_that_joins_finds_a_study_by_its_file(here: Path) -> None:
    folder = here / "there" / "studies" / "s"
    folder.mkdir(parents=True)
    (folder / "study.db").touch()
    assert take_storage("worker", ["study=s", f"storage={folder}/study.db"]) == ["study=s"]
    assert Path.cwd() == here / "there"
    with pytest.raises(ConfigError, match=r"or the path of a study's study\.db"):
        take_storage("worker", ["storage=nowhere/study.db"])


def test_every_command_on_a_study_does_and_keeps_the_users_own_paths(here: Path) -> None:
    folder = here / "there" / "studies" / "s"
    folder.mkdir(parents=True)
    (folder / "study.db").touch()
    words = ["study=s", "to=best", "--config-dir=conf", "--config-dir", "other", "data.train=a.csv"]
    taken = take_storage("export", [*words, f"search.storage={folder}/study.db"])
    own = [f"to={here}/best", f"--config-dir={here}/conf", "--config-dir", f"{here}/other"]
    assert taken == ["study=s", *own, "data.train=a.csv"]
    assert Path.cwd() == here / "there"
    for command in ("sweep", "plan", "try", "drop", "evaluate", "export", "train"):
        assert take_storage(command, [f"storage={folder}/study.db"]) == []


Disk = namedtuple("Disk", ["mountpoint", "fstype"])


@pytest.mark.parametrize(("kind", "refused"), [("nfs4", True), ("ext4", False)])
def test_sqlite_on_a_network_disk_is_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch, kind: str, refused: bool
) -> None:
    # A real one cannot be mounted here, so the kernel's list of mounts is replaced.
    disks = [Disk("/", "ext4"), Disk(str(here), kind)]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: disks)
    if refused:
        with pytest.raises(ConfigError, match=r"^study: an SQLite study .* on nfs4\. Set FINE"):
            check_disk(here / "studies" / "s")
    else:
        check_disk(here / "studies" / "s")
