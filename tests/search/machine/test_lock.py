from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from search.machine.lock import InUse, locked

HOLD = "import sys; from pathlib import Path; from search.machine.lock import locked\n"
HOLD += "with locked(Path('folder')): print('locked', flush=True); sys.stdin.read()"


def test_a_killed_process_holds_no_lock(here: Path) -> None:
    (here / "folder").mkdir()
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"locked\n"
        with pytest.raises(InUse), locked(here / "folder"):
            pass
        os.kill(process.pid, signal.SIGKILL)
    for _ in range(2):
        with locked(here / "folder"):
            assert not list((here / "folder").iterdir())  # it leaves no file


def test_a_child_process_does_not_keep_the_lock(here: Path) -> None:
    (here / "folder").mkdir()
    with locked(here / "folder"):
        child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=-1)
    with locked(here / "folder"):
        assert child.poll() is None
    child.communicate()
