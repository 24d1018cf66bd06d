"""The real W&B client against a server on this machine that works, or fails in seven ways."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.logger.upload import FAILED_FILE, Uploads, forget_failure
from tests.shared import ROOT
from tests.wandb_server import WandbServer, wandb_server

LOG = """
import json, os, sys
from pathlib import Path
from lightning_modules.logger.base import Identity
from lightning_modules.logger.wandb import Mode, Wandb
folder, notes = Path(sys.argv[1]), []
logs = Wandb(project="tests", entity=None, mode=Mode.auto).start(folder)
for number in range(2):
    identity = Identity(f"trial {number}", "s", folder, "trial", ("tiny",))
    log = logs.open(identity, {"seed": number}, notes.append)
    for step in range(4):
        log.log({"loss": step / 4 + number}, step)
    log.table("mistakes", [{"text": "a", "label": "b"}])
    log.finish({"best/accuracy": number / 4})
print(json.dumps([*notes, *logs.close()]))
"""


def logged(folder: Path, environment: Mapping[str, str]) -> list[str]:
    """Log three runs in a process of its own; return the notes."""
    done = subprocess.run(
        [sys.executable, "-c", LOG, str(folder)],
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=folder.parent,
        timeout=300,
        check=True,
    )
    assert not (folder.parent / "wandb").exists()
    notes: list[str] = json.loads(done.stdout.splitlines()[-1])
    return notes


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


class Broken:
    """Stands for a service that cannot be started."""

    def __call__(self) -> Any:
        raise ModuleNotFoundError("No module named 'wandb.sdk.lib.service'")


def test_a_service_that_does_not_start_is_a_note(here: Path) -> None:
    uploads = Uploads(here, Broken())
    uploads.add(here / "a.wandb")
    uploads.add(here / "b.wandb")
    uploads.close()
    (note,) = uploads.notes()
    assert "No module named 'wandb.sdk.lib.service'. The runs stay offline" in note
    assert uploads.notes() == []
    assert (here / "wandb" / FAILED_FILE).is_file()
