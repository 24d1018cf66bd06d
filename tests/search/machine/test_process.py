from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest

from search.machine.process import Process, kill_tree, num_memory_kills
from tests.conftest import wait_until


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_a_process_is_running_then_stopped_then_gone(child: subprocess.Popen[bytes]) -> None:
    process = Process.of(child.pid)
    assert process.state() == "running"
    child.send_signal(signal.SIGSTOP)
    wait_until(lambda: process.state() != "running", "a process to stop")
    assert process.state() == "stopped"
    child.kill()
    wait_until(lambda: process.state() == "gone", "a zombie, which counts as gone")
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE  # until its parent waits
    child.wait()
    assert process.state() == "gone"
    assert Process.of(child.pid).state() == "gone"


def test_a_process_that_reuses_a_pid_is_not_the_same(child: subprocess.Popen[bytes]) -> None:
    process = Process.of(child.pid)
    assert replace(process, started=process.started - 60).state() == "gone"


def test_this_process_is_running() -> None:
    assert Process.this().state() == "running"


TREE = """
import os, subprocess, sys, time
near = subprocess.Popen(["sleep", "1000"])
far = subprocess.Popen(["sleep", "1000"], start_new_session=True)
print(near.pid, far.pid, flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("leader_is_dead", [False, True])
def test_killing_a_tree_kills_every_process_in_it(leader_is_dead: bool) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TREE], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as leader:
        assert leader.stdout is not None
        near, far = (psutil.Process(int(pid)) for pid in leader.stdout.readline().split())
        if leader_is_dead:
            leader.kill()
            leader.wait()
        kill_tree(leader.pid)
        leader.wait(timeout=60)
        near.wait(timeout=60)
        if leader_is_dead:
            far.kill()  # it left the group, and its dead parent no longer leads to it
        far.wait(timeout=60)


def test_memory_kills_are_counted() -> None:
    assert num_memory_kills() >= 0
