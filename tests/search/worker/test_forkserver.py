from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from search.worker.forkserver import Child, Forkserver, adopting, reap_group
from tests.conftest import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no subreaper")

# Forked workers follow the command on their standard input, with a child in their group.
FORKSERVER = """
import os, subprocess, sys, time
from search.worker.forkserver import serve
events, engine_pid = serve()
print("forked", flush=True)
order = os.read(0, 100).decode()
if order == "leave a child":
    child = subprocess.Popen(["sleep", "1000"])
    os.write(events, f"{engine_pid} {os.getppid()} {os.getsid(0) == os.getpid()}".encode())
    os.read(0, 1)
if order == "end":
    sys.exit(3)
"""


DIES = """
class Dies(socket.socket):
    def sendall(self, *_):
        os.kill(os.getpid(), signal.SIGKILL)
search.worker.forkserver.socket.socket = Dies
"""


class Worker:
    """A forked worker with its pipes."""

    def __init__(self, forkserver: Forkserver, log: Path) -> None:
        below, self.lifeline = os.pipe()
        self.events, writing = os.pipe()
        with log.open("ab") as output:
            child = forkserver.fork(below, output.fileno(), writing, lambda: False)
        os.close(below)
        os.close(writing)
        assert child is not None
        self.child: Child = child

    def order(self, words: str) -> None:
        os.write(self.lifeline, words.encode())

    def said(self) -> str:
        return os.read(self.events, 100).decode()


@pytest.fixture
def forkserver(here: Path) -> Iterator[Forkserver]:
    with adopting() as is_adopting, (here / "forkserver.log").open("ab") as output:
        assert is_adopting
        command = [sys.executable, "-P", "-c", FORKSERVER]
        forkserver = Forkserver(command, dict(os.environ), output)
        yield forkserver
        forkserver.close()


def test_forks_children_of_the_calling_process(forkserver: Forkserver, here: Path) -> None:
    first, second = (Worker(forkserver, here / f"{number}.log") for number in range(2))
    assert first.child.pid != second.child.pid
    for worker, end, code in ((first, "end", 3), (second, "go", 0)):
        assert worker.child.poll() is None
        worker.order(end)
        assert worker.child.wait() == worker.child.poll() == code
    assert [(here / f"{number}.log").read_text() for number in range(2)] == ["forked\n"] * 2


def test_a_worker_leads_a_session_and_its_dead_children_are_reaped(
    forkserver: Forkserver, here: Path
) -> None:
    worker = Worker(forkserver, here / "log")
    worker.order("leave a child")
    assert worker.said() == f"{os.getpid()} {os.getpid()} True"
    worker.child.send_signal(signal.SIGKILL)
    assert worker.child.wait() == -signal.SIGKILL
    worker.child.send_signal(signal.SIGKILL)  # started by this test
    assert not reap_group(worker.child.pid)
    os.killpg(worker.child.pid, signal.SIGKILL)
    wait_until(lambda: reap_group(worker.child.pid), "the dead child to be reaped")
    with pytest.raises(ProcessLookupError):
        os.killpg(worker.child.pid, 0)


def test_workers_outlive_the_forkserver_and_notice_the_end_of_the_engine(
    forkserver: Forkserver, here: Path
) -> None:
    worker = Worker(forkserver, here / "log")
    # Before it writes, it does not know yet that the forkserver has reported it.
    wait_until((here / "log").read_text, "a worker that writes to its log")
    forkserver.close()
    assert worker.child.poll() is None
    os.close(worker.lifeline)  # as if the engine died
    assert worker.child.wait() == 0


def test_a_dead_or_stopping_forkserver_forks_no_worker(here: Path) -> None:
    with adopting(), (here / "log").open("ab") as output:
        for script, is_stopping in (("raise SystemExit(1)", False), ("input()", True)):
            forkserver = Forkserver([sys.executable, "-c", script], dict(os.environ), output)
            assert forkserver.fork(0, 1, 2, lambda stop=is_stopping: stop) is None
            forkserver.close()


def test_a_worker_forked_during_a_stop_is_killed(forkserver: Forkserver, here: Path) -> None:
    first = Worker(forkserver, here / "log")  # the imports are over
    before = set(psutil.Process().children())
    came: list[psutil.Process] = []

    def is_stopping() -> bool:  # between the fork and reading its answer
        came.extend(
            wait_until(lambda: {*psutil.Process().children()} - before, "the worker's process")
        )
        return True

    below, lifeline = os.pipe()
    assert forkserver.fork(below, 2, 2, is_stopping) is None
    assert len(came) == 1 and not {*psutil.Process().children()} - before
    os.close(below)
    os.close(lifeline)
    first.order("end")
    assert first.child.wait() == 3


def test_a_worker_ends_if_its_forkserver_died_before_reporting_it(here: Path) -> None:
    # A forkserver that is killed between the fork and its answer.
    dies = f"import search.worker.forkserver, os, signal, socket\n{DIES}\n{FORKSERVER}"
    with adopting(), (here / "log").open("ab") as output:
        forkserver = Forkserver([sys.executable, "-P", "-c", dies], dict(os.environ), output)
        below, lifeline = os.pipe()
        before = set(psutil.Process().children())
        assert forkserver.fork(below, output.fileno(), 2, lambda: False) is None
        (orphan,) = {*psutil.Process().children()} - before
        assert Child(orphan.pid).wait() == 1
        forkserver.close()
        os.close(below)
        os.close(lifeline)
    assert "forked" not in (here / "log").read_text()


def test_adopting_ends_with_its_context() -> None:
    orphan = ["sh", "-c", "sleep 1000 >/dev/null & echo $!"]
    pids = []
    for _ in range(2):
        with adopting():
            pids.append(int(subprocess.run(orphan, stdout=-1, check=True).stdout))
            assert os.waitpid(pids[-1], os.WNOHANG) == (0, 0)
    pids.append(int(subprocess.run(orphan, stdout=-1, check=True).stdout))
    with pytest.raises(ChildProcessError):
        os.waitpid(pids[-1], os.WNOHANG)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids[:2]:
        os.waitpid(pid, 0)
