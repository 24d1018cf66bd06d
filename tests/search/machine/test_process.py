from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from search.machine.process import Process, kill_tree, num_memory_kills


@pytest.fixture
def child() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], start_new_session=True)


def test_a_process_runs_is_stopped_and_is_gone(child: subprocess.Popen[bytes]) -> None:
    process = Process.of(child.pid)
    assert process.state() == "running"
    child.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + 10
    while process.state() == "running" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.state() == "stopped"
    child.kill()
    time.sleep(0.1)
    assert process.state() == "gone"  # a zombie, until its parent asks
    child.wait()
    assert process.state() == "gone"
    assert Process.of(child.pid).state() == "gone"


def test_another_process_of_the_same_number_is_another(child: subprocess.Popen[bytes]) -> None:
    process = Process.of(child.pid)
    assert replace(process, started=process.started - 60).state() == "gone"
    child.kill()
    child.wait()


def test_this_process_runs() -> None:
    assert Process.this().state() == "running"


TREE = """
import os, subprocess, sys, time
own = subprocess.Popen(["sleep", "60"])
far = subprocess.Popen(["sleep", "60"], start_new_session=True)
print(own.pid, far.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("leader_is_dead", [False, True])
def test_a_tree_is_killed_with_all_that_is_in_it(leader_is_dead: bool) -> None:
    leader = subprocess.Popen(
        [sys.executable, "-c", TREE], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert leader.stdout is not None
    own, far = (psutil.Process(int(pid)) for pid in leader.stdout.readline().split())
    if leader_is_dead:
        leader.kill()
        leader.wait()
    kill_tree(leader.pid)
    leader.wait(timeout=10)
    own.wait(timeout=10)
    if leader_is_dead:
        far.kill()  # left its group, and its parent cannot be asked any more
    far.wait(timeout=10)


def test_the_kernel_tells_how_many_it_killed() -> None:
    assert num_memory_kills() >= 0
