"""finesweep delete: studies in both storages, and runs; never a part of them."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from faults.postgres import Postgres

from lightning_modules.error import ConfigError
from search.machine.aside import put_aside
from search.machine.lock import locked
from search.storage.engine import open_storage
from search.storage.location import storage_of
from search.storage.remove import remove_rows
from search.study.session import join
from search.trained.delete import delete, find_run_to_delete
from search.trained.find import find_study
from tests.conftest import run_here, wait_until
from tests.test_kept import KEPT

START = ("search.ask_tell=true", "search.metric=score", "search.direction=maximize")
SPACE = ("x=interval(0,1)", "search/sampler=random", "search.num_trials=2")


@pytest.fixture(params=["sqlite", "postgres"])
def storage(request: pytest.FixtureRequest, here: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Start the studies `s` and `other` in a file or on a real server."""
    if request.param == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        monkeypatch.setenv("FINESWEEP_STORAGE", server.new_database())
    for name in ("s", "other"):
        run_here("sweep", f"study={name}", *START, *SPACE)
        run_here("ask", f"study={name}")
        run_here("tell", f"study={name}", "trial=0", "value=0.5")
    return str(request.param)


def names() -> list[str]:
    return [each["study"] for each in json.loads(run_here("status", "--json"))]


def test_rows_and_files_of_a_study_are_gone_and_others_stay(here: Path, storage: str) -> None:
    size = sum(path.stat().st_size for path in (here / "studies/s").rglob("*") if path.is_file())
    printed = json.loads(run_here("delete", "study=s", "--yes", "--json"))
    assert abs(printed.pop("num_bytes") - size) < 10_000 + size / 2  # SQLite's log comes and goes
    expected = {"study": "s", "deleted": True, "num_trials": 1, "folder": "studies/s"}
    assert printed == expected
    assert [path.name for path in (here / "studies").iterdir()] == ["other"]
    assert names() == ["other"]
    assert "1 complete" in run_here("status", "study=other")
    run_here("sweep", "study=s", *START, *SPACE)  # a new one of that name begins with trial 0
    assert json.loads(run_here("ask", "study=s", "--json"))["number"] == 0
    run_here("tell", "study=s", "trial=0", "value=1")
    assert run_here("delete", "study=s", "--yes").startswith("deleted study s: 1 trial")


def test_a_study_in_use_is_refused(
    here: Path, storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here("ask", "study=s")
    run_here("delete", "study=s", "--yes", code=2)
    assert capsys.readouterr().err == (
        "study: nobody may train trials of s, got 1 of its trials asked for and not told. "
        "Give each back: finesweep tell study=s trial=N ending=interrupted.\n"
    )
    run_here("tell", "study=s", "trial=1", "ending=interrupted")
    session = join(find_study("s"))
    run_here("delete", "study=s", "--yes", code=2)
    line = capsys.readouterr().err
    assert line.startswith("study: nobody may train trials of s, got 1 worker: ")
    assert line.endswith("End it with finesweep stop study=s, and wait for the running trials.\n")
    assert (here / "studies/s").is_dir() and sorted(names()) == ["other", "s"]
    session.leave()
    run_here("delete", "study=s", "--yes")
    assert names() == ["other"]


@pytest.mark.parametrize("killed", ["before the rows", "after the rows", "before the move"])
def test_a_deletion_that_was_killed_is_repeated(here: Path, storage: str, killed: str) -> None:
    folder = Path("studies/s")
    if killed != "before the rows":
        open_one = open_storage(storage_of(folder))
        remove_rows(open_one, [open_one.get_study_id_from_name("s")])
        open_one.engine.dispose()
    if killed != "before the move" and not (killed == "before the rows" and storage == "sqlite"):
        put_aside(folder)
    run_here("delete", "study=s", "--yes")
    assert [path.name for path in Path("studies").iterdir()] == ["other"] and names() == ["other"]


def test_it_asks_in_a_terminal_and_refuses_without_one(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(KEPT, here, dirs_exist_ok=True)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    run_here("delete", "study=small", code=2)
    assert capsys.readouterr().err.startswith(
        "delete: must be confirmed in a terminal or by --yes, got neither, for study small: "
        "2 trials, 0.4 MB in studies/small/."
    )
    for answer, code in (("n\n", 1), ("\n", 1), ("", 1), ("y\n", 0)):
        reading, writing = os.openpty()
        os.write(reading, answer.encode() or b"\x04")
        with os.fdopen(writing, "r", encoding="utf-8") as terminal:
            monkeypatch.setattr("sys.stdin", terminal)
            run_here("delete", "study=small", code=code)
        os.close(reading)
        asked = capsys.readouterr().err
        assert asked.startswith("Delete study small: 2 trials, 0.4 MB in studies/small/? [y/N] ")
        assert (here / "studies/small").exists() == bool(code)
        assert ("nothing was deleted" in asked) == bool(code)


def test_a_run_is_deleted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(KEPT, here, dirs_exist_ok=True)
    run_here("delete", "run=smal", "--yes", code=2)
    line = "run: must be a run in runs/, got 'smal'. Did you mean small?\n"
    assert capsys.readouterr().err == line
    put_aside(Path("runs/small"))  # killed
    assert run_here("delete", "run=small", "--yes") == "deleted run small: 0.4 MB in runs/small/\n"
    assert not list((here / "runs").iterdir())
    assert names() == ["small"]


@pytest.mark.thorough
def test_a_run_is_neither_deleted_nor_trained_twice_while_a_process_trains_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "run=r", "experiment=smoke", "logger=none", "trainer.epochs=100000"]
    command = [sys.executable, "-c", f"from search.cli import main; main({words!r})"]
    folder = here / "runs" / "r"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT) as process:
        try:
            wait_until((folder / "labels.json").is_file, "its training")
            for again in (("delete", "run=r", "--yes"), tuple(words)):
                run_here(*again, code=2)
                assert capsys.readouterr().err == (
                    "run: must not be in training, got r, which another process trains. "
                    "Wait until it has ended, or end it with Ctrl-C.\n"
                )
            assert (folder / "config.yaml").is_file() and process.poll() is None
        finally:
            process.kill()
    assert run_here("delete", "run=r", "--yes").startswith("deleted run r: ")
    assert not folder.exists()


def test_a_run_that_starts_while_delete_asks_stays(here: Path) -> None:
    shutil.copytree(KEPT, here, dirs_exist_ok=True)
    doomed = find_run_to_delete("small")
    with locked(here / "runs" / "small"), pytest.raises(ConfigError, match="another process"):
        delete(doomed)
    assert (here / "runs" / "small" / "config.yaml").is_file()
    delete(doomed)
    assert not (here / "runs").exists() or not list((here / "runs").iterdir())


@pytest.mark.parametrize("name", ["../studies", ".", "/", "*", ".deleted"])
def test_no_name_leads_out_of_the_folder(name: str, here: Path) -> None:
    shutil.copytree(KEPT, here, dirs_exist_ok=True)
    for key in ("study", "run"):
        run_here("delete", f"{key}={name}", "--yes", code=2)
    assert (here / "studies/small").is_dir() and (here / "runs/small").is_dir()


def test_the_files_of_a_study_on_a_server_stay_without_the_server(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "studies/s").mkdir(parents=True)
    (here / "studies/s/study.json").write_text('{"storage": "postgresql://db/trials"}')
    run_here("delete", "study=s", "--yes", code=2)
    assert "Its trials are on a server: set FINESWEEP_STORAGE." in capsys.readouterr().err
    assert (here / "studies/s").is_dir()


def test_a_link_is_left_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(KEPT, here / "elsewhere")
    (here / "runs").mkdir()
    (here / "runs/x").symlink_to(here / "elsewhere/runs/small")
    run_here("delete", "run=x", "--yes", code=2)
    assert "a link to" in capsys.readouterr().err and (here / "runs/x/metrics.json").is_file()


@pytest.mark.parametrize("kind", ["study", "run"])
def test_an_exported_model_in_the_folder_stays(
    kind: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(KEPT, here, dirs_exist_ok=True)
    folder = Path("studies/small" if kind == "study" else "runs/small")
    shutil.move("export", folder / "best")
    run_here("delete", f"{kind}=small", "--yes", code=2)
    assert capsys.readouterr().err == (
        f"{kind}: {folder} must hold no exported models, which stay, got {folder}/best. "
        "Move them away, or delete them.\n"
    )
    shutil.move(folder / "best", "export")
    run_here("delete", f"{kind}=small", "--yes")
    assert not folder.exists() and Path("export/finesweep.json").is_file()


def test_a_renamed_folder_is_not_the_rest_of_a_study(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(KEPT, here, dirs_exist_ok=True)
    Path("studies/small").rename("studies/other")
    run_here("delete", "study=other", "--yes", code=2)
    assert capsys.readouterr().err == (
        "study: studies/other/study.db must hold the study other, got 'small'. "
        "Rename the folder to studies/small, and name that study.\n"
    )
    assert Path("studies/other/study.db").is_file()
    Path("studies/other").rename("studies/small")
    run_here("delete", "study=small", "--yes")
    assert not Path("studies").exists() or not list(Path("studies").iterdir())


@pytest.mark.parametrize(
    ("name", "text"),
    [("study.db", ""), ("study.json", '{"storage": "postgresql://other.example/trials"}')],
)
def test_the_files_of_another_study_of_that_name_stay(
    name: str,
    text: str,
    here: Path,
    postgres: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FINESWEEP_STORAGE", postgres.new_database())
    run_here("sweep", "study=s", *START, *SPACE)
    shutil.rmtree("studies/s")
    other = here / "studies/s" / name
    other.parent.mkdir()
    other.write_text(text)
    run_here("delete", "study=s", "--yes", code=2)
    assert capsys.readouterr().err.startswith("study: studies/s must not belong to another study")
    assert other.read_text() == text and names() == ["s"]
    other.unlink()
    run_here("delete", "study=s", "--yes")
    assert names() == []
