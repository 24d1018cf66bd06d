"""Malicious and malformed names: nothing outside the root is written or deleted."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import run_here
from tests.faults.conftest import SMALL

SHORT = (
    *SMALL,
    "trainer.epochs=1",
    "search.num_trials=1",
    "search.workers=0",
    "data.batch_size=64",
)

# In YAML, which can hold any name; a shell cannot pass a NUL.
NAMES = {
    "up": "../x",
    "far up": "../../../../../../tmp/finesweep-x",
    "absolute": "{outside}/x",
    "windows": "..\\\\x",
    "nul": "a\\0b",
    "long": "n" * 600,
    "emoji": "\U0001f680 first \U0001f680",
    "dots": "..",
    "space": " ",
    "line": "a\\nb",
    "tilde": "~/x",
}


def sampled(values: Iterable[str], *fast: str) -> list[Any]:
    """Return the values as parameters; all but `fast` are marked thorough."""
    thorough = pytest.mark.thorough
    return [each if each in fast else pytest.param(each, marks=thorough) for each in values]


def tree_of(folder: Path) -> Mapping[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def root(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Change to a nested folder; assert that no file outside of it changes."""
    for folder in (here / "outside", here / "outside/a", here / "outside/a/studies"):
        folder.mkdir()
        (folder / "keep").write_text("me")
    root = here / "outside/a/root"
    root.mkdir()
    monkeypatch.chdir(root)
    before = {name: content for name, content in tree_of(here).items() if "a/root" not in name}
    yield root
    after = {name: content for name, content in tree_of(here).items() if "a/root" not in name}
    assert after == before
    assert not Path("/tmp/finesweep-x").exists()


def yaml_named(root: Path, key: str, name: str) -> tuple[str, ...]:
    """Write an experiment that sets the name; return the words that choose it."""
    folder = root / "conf/experiment"
    folder.mkdir(parents=True)
    text = name.format(outside=root.parent)
    (folder / "named.yaml").write_text(f'# @package _global_\n{key}: "{text}"\n', encoding="utf-8")
    return ("--config-dir=conf", "experiment=named")


@pytest.mark.parametrize("name", sampled(NAMES, "up", "nul"))
def test_a_study_gets_a_plain_folder_name_inside_the_root(root: Path, name: str) -> None:
    output = run_here("sweep", *yaml_named(root, "study", NAMES[name]), *SHORT)
    (folder,) = (root / "studies").iterdir()
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", folder.name)
    assert f"study={folder.name}" in output
    assert (folder / "trials.csv").is_file()


@pytest.mark.parametrize("command", ["sweep", "plan", "stop", "evaluate", "export", "train"])
def test_an_empty_name_is_refused_with_one_line(
    root: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key = "run" if command == "train" else "study"
    run_here(command, f"{key}=", code=2)
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(rf"{key}: must be (a name|set), got ", line)
    assert not list(root.iterdir())


@pytest.mark.parametrize("name", sampled(["up", "absolute", "long", "emoji"], "up", "emoji"))
def test_a_run_gets_a_plain_folder_name_inside_the_root(root: Path, name: str) -> None:
    words = yaml_named(root, "run", NAMES[name])
    run_here("train", *words, *SMALL[:5], "trainer.epochs=1", "data.batch_size=64")
    (folder,) = (root / "runs").iterdir()
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", folder.name)


OUTSIDE = ["../../../studies", "../../../../../../../../../../../etc", "{outside}", "a/../../../.."]


@pytest.mark.parametrize("folder", sampled(OUTSIDE, OUTSIDE[0]))
def test_folders_in_the_storage_that_leave_the_study_are_refused(
    root: Path, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder.format(outside=root.parent)
    run_here("sweep", "study=s", *SHORT)
    database = root / "studies/s/study.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        changed = connection.execute(
            "UPDATE trial_user_attributes SET value_json = ? WHERE key = 'folder'",
            [json.dumps(folder)],
        )
        assert changed.rowcount == 1
    capsys.readouterr()
    # The end of a second trial removes files of the first.
    more = (*SHORT, "search.num_trials=2")
    for words in (
        ("sweep", "study=s", *more),
        ("evaluate", "study=s"),
        ("export", "study=s", "to=out"),
    ):
        run_here(*words, code=2)
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"study: its storage must name files in studies/s, got {folder!r}")
    assert not (root / "out").exists()
