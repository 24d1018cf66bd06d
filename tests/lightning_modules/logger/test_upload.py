"""The real W&B client against a server on this machine that works, or fails in seven ways."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from faults.wandb_record import wandb_records
from faults.wandb_server import FAULTS, WandbServer, wandb_server

from lightning_modules.logger.upload import FAILED_FILE, Uploads, forget_failure, unsent_note
from tests.conftest import Command
from tests.shared import ROOT

NUM_TRIES = 3  # of W&B's client, for the one request that asks whose the key is
LOG = """
import json, os, sys, time
from pathlib import Path
from lightning_modules.logger.base import Identity
from lightning_modules.logger.wandb import Mode, Wandb
folder, notes = Path(sys.argv[1]), []
logs = Wandb(project="tests", entity=None, mode=Mode.auto, upload_model=False).start(folder)
for number in range(2):
    identity = Identity(f"trial {number}", "s", folder, "trial", ("tiny",))
    log = logs.open(identity, {"seed": number}, notes.append)
    for step in range(4):
        log.log({"loss": step / 4 + number}, step)
    log.table("mistakes", [{"text": "a", "label": "b"}])
    log.finish({"best/accuracy": number / 4})
print(json.dumps([*notes, *logs.close()]))
"""


def logged(
    folder: Path, environment: Mapping[str, str], *, may_have_wandb: bool = False
) -> list[str]:
    """Log two runs in a process of its own; return the notes."""
    done = subprocess.run(
        [sys.executable, "-c", LOG, str(folder)],
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=folder.parent,
        timeout=300,
        check=True,
    )
    assert may_have_wandb or not (folder.parent / "wandb").exists()
    notes: list[str] = json.loads(done.stdout.splitlines()[-1])
    return notes


def content(folder: Path) -> list[list[Any]]:
    """Return what the local records of each run say, without times and ids."""
    return sorted((_content(run) for run in (folder / "wandb").glob("offline-run-*")), key=str)


def _content(run: Path) -> list[Any]:
    found: list[Any] = []
    for record in wandb_records(run):
        kind = record["type"]
        if kind == "run":
            values = record["run"]
            names = ("display_name", "run_group", "job_type", "tags")
            found.append([kind, *(values[name] for name in names)])
            found.append(["seed", values["config"]["update"]["seed"]])
        elif kind == "history":
            item = record["history"]["item"]
            found.append([kind, *(item.get(name) for name in ("_step", "loss", "mistakes._type"))])
        elif kind == "summary" and "best/accuracy" in record["summary"]["update"]:
            found.append([kind, record["summary"]["update"]["best/accuracy"]])
        elif kind == "exit":
            found.append([kind])
    return found


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> list[list[Any]]:
    """Return the content of the same runs, logged with W&B offline."""
    folder = tmp_path_factory.mktemp("offline")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    assert logged(folder, {**kept, "WANDB_MODE": "offline"}) == []
    return content(folder)


@pytest.mark.thorough
@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_fails_is_asked_once_and_the_local_record_is_whole(
    here: Path, offline: list[list[Any]], fault: str
) -> None:
    with wandb_server(fault) as server:
        environment = server.environment(str(here))
        (note,) = logged(here / "s", environment)
        assert len(server.paths) <= NUM_TRIES
    assert note.startswith(f"W&B: {server.url}: ")
    assert note.endswith(f"wandb sync {here}/s/wandb/offline-run-*")
    assert content(here / "s") == offline
    assert not list((here / "s").rglob("*.synced"))


@pytest.mark.thorough
def test_another_process_does_not_try_and_a_later_command_does(here: Path) -> None:
    with wandb_server("401") as server:
        environment = server.environment(str(here))
        assert len(logged(here / "s", environment)) == 1
        assert logged(here / "s", environment) == []
        assert len(server.paths) == 1
        forget_failure(here / "s")
        assert len(logged(here / "s", environment)) == 1
        assert len(server.paths) == 2


def sent(server: WandbServer) -> list[list[Any]]:
    """Return the losses that the server got, by run."""
    return sorted(
        [line["loss"] for line in lines if "loss" in line] for lines in server.lines.values()
    )


LOSSES = [[step / 4 + number for step in range(4)] for number in range(2)]


@pytest.mark.thorough
def test_runs_are_sent_while_a_server_answers(here: Path) -> None:
    with wandb_server() as server:
        assert logged(here / "s", server.environment(str(here))) == []
    assert sent(server) == LOSSES
    assert len(list((here / "s").rglob("*.wandb.synced"))) == 2
    assert server.files.count("config.yaml") == 2
    assert any(name.endswith(".table.json") for name in server.files)


@pytest.mark.thorough
def test_what_stayed_offline_is_sent_by_the_command_of_the_note(here: Path) -> None:
    with wandb_server("500") as server:
        (note,) = logged(here / "s", server.environment(str(here)))
        server.fault = None
        words = note.partition("Send them later: ")[2]
        folder = Path(sys.executable).parent
        environment = server.environment(str(here))
        path = f"{folder}{os.pathsep}{environment['PATH']}"
        subprocess.run(words, shell=True, env={**environment, "PATH": path}, check=True)
    assert sent(server) == LOSSES


KILLED = LOG.replace("log.table", "killed() if number else log.table").replace(
    "folder, notes =",
    """
def killed():
    time.sleep(20)  # W&B's service writes its records every 15 s
    os.kill(os.getpid(), 9)

folder, notes =""",
)


@pytest.mark.thorough
def test_the_runs_of_a_killed_process_are_counted_and_can_be_sent(here: Path) -> None:
    with wandb_server() as server:
        environment = server.environment(str(here))
        words = [sys.executable, "-c", KILLED, str(here / "s")]
        killed = subprocess.run(words, env={**environment, "PYTHONPATH": str(ROOT)}, check=False)
        assert killed.returncode == -signal.SIGKILL
        note = unsent_note(here / "s")
        assert note is not None and "not uploaded, or not whole, e.g. because a worker" in note
        bin_folder = Path(sys.executable).parent
        path = f"{bin_folder}{os.pathsep}{environment['PATH']}"
        send = note.partition("Send what is left: ")[2]
        subprocess.run(send, shell=True, env={**environment, "PATH": path}, check=True)
    whole, cut = LOSSES  # W&B holds back the last step until the next
    assert [sorted(set(losses)) for losses in sent(server)] == [whole, cut[:-1]]
    assert unsent_note(here / "s") is None


@pytest.mark.thorough
def test_what_wandb_offline_stored_counts(here: Path) -> None:
    with wandb_server() as server:
        environment = server.environment(str(here))
        wandb = Path(sys.executable).with_name("wandb")
        subprocess.run([wandb, "offline"], env=environment, cwd=here, check=True)
        assert logged(here / "s", environment, may_have_wandb=True) == []
        assert not server.paths
        assert len(list((here / "s/wandb").glob("offline-run-*"))) == 2
        online = {**environment, "WANDB_MODE": "online"}
        assert logged(here / "t", online, may_have_wandb=True) == []
    assert sent(server) == LOSSES


@pytest.mark.thorough
def test_a_key_of_wandb_login_is_found(here: Path) -> None:
    with wandb_server("401") as server:
        environment = server.environment(str(here))
        del environment["WANDB_API_KEY"], environment["WANDB_BASE_URL"]
        ask = "from lightning_modules.logger.wandb import _credentials; print(_credentials())"

        def answer() -> str:
            python = [sys.executable, "-c", ask]
            path = {**environment, "PYTHONPATH": str(ROOT)}
            return subprocess.run(
                python, env=path, capture_output=True, text=True, check=True
            ).stdout.strip()

        assert answer() == "None"
        login = [Path(sys.executable).with_name("wandb"), "login", "--no-verify", "k" * 40]
        subprocess.run(login, env=environment, capture_output=True, check=True)
        assert "AuthApiKey" in answer()


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_no_name_is_looked_up_offline(here: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    trace = here / "trace"
    words = ["strace", "-f", "-qq", "-e", "trace=connect", "-o", str(trace)]
    subprocess.run(
        [*words, sys.executable, "-c", LOG, str(here / "s")],
        capture_output=True,
        env={**kept, "HOME": str(here), "PYTHONPATH": str(ROOT)},
        timeout=300,
        check=True,
    )
    connections = trace.read_text().splitlines()
    assert any("AF_UNIX" in line for line in connections)  # to W&B's own process
    assert not [line for line in connections if "AF_INET" in line]


@pytest.mark.thorough
def test_all_workers_of_a_study_say_it_once_and_the_next_command_tries_again(
    finesweep: Command, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with wandb_server("hang") as server:
        for name, value in server.environment(str(here)).items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("WANDB_MODE", raising=False)
        words = ("study=s", "model=tiny", "trainer.max_steps=1", "search.confirm=0")
        done = finesweep("sweep", *words, "search.num_trials=4", "search.workers=2")
        assert (done.stdout + done.stderr).count("wandb sync") == 1
        num_requests = len(server.paths)
        assert num_requests in (1, 2)  # each worker may notice
        done = finesweep("sweep", *words, "search.num_trials=6", "search.workers=1")
        assert (done.stdout + done.stderr).count("wandb sync") == 1
        assert len(server.paths) == num_requests + 1
    assert len(list((here / "studies/s/wandb").glob("offline-run-*"))) == 6 + 2


class Broken:
    """Stands for a service that cannot be started."""

    def __call__(self) -> Any:
        raise ModuleNotFoundError("No module named 'wandb.sdk.lib.service'")


def test_a_service_that_does_not_start_is_a_note(here: Path) -> None:
    uploads = Uploads(Path("my study"), Broken())
    uploads.add(here / "a.wandb")
    uploads.add(here / "b.wandb")
    uploads.close()
    (note,) = uploads.notes()
    assert "No module named 'wandb.sdk.lib.service'. The runs stay offline" in note
    assert note.endswith(f"wandb sync '{here}/my study/wandb'/offline-run-*")
    assert uploads.notes() == []
    assert (here / "my study" / "wandb" / FAILED_FILE).is_file()


class Endless:
    """Stands for a service that never sends its first run."""

    url = "http://endless"

    def __init__(self) -> None:
        self.is_killed = threading.Event()

    def authenticate(self) -> None:
        pass

    def send(self, file: Path) -> None:
        self.is_killed.wait()

    def kill(self) -> None:
        self.is_killed.set()


def test_its_process_does_not_outlive_a_close_that_ctrl_c_ends(here: Path) -> None:
    def ctrl_c(*_: Any) -> None:
        raise KeyboardInterrupt

    server: Any = Endless()
    uploads = Uploads(here, lambda: server)
    uploads.add(here / "a.wandb")
    before = signal.signal(signal.SIGALRM, ctrl_c)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            uploads.close()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert server.is_killed.is_set()


def test_runs_without_the_mark_of_a_whole_upload_are_counted(here: Path) -> None:
    assert unsent_note(here) is None
    for name, content in (("1", "W&B records"), ("2", "W&B records"), ("3", "W&B")):
        (here / "wandb" / f"offline-run-{name}").mkdir(parents=True)
        (here / "wandb" / f"offline-run-{name}" / "run.wandb").write_text(content)
    assert str(unsent_note(here)).startswith("W&B: 2 runs here are not uploaded, or not whole, ")
    (here / "wandb" / "offline-run-1" / "run.wandb.synced").touch()
    assert str(unsent_note(here)).startswith("W&B: 1 run here is not uploaded, or not whole, ")
    (here / "wandb" / FAILED_FILE).touch()  # which has been said
    assert unsent_note(here) is None
