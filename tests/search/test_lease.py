from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import psutil

from search.lease import Worker, this_worker


def worker_of(child: subprocess.Popen[bytes]) -> Worker:
    return replace(this_worker(), pid=child.pid, started=psutil.Process(child.pid).create_time())


def child_waiting_for_input() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


def test_this_process_is_alive() -> None:
    assert this_worker().is_alive()


def test_mark_survives_the_storage() -> None:
    worker = Worker.from_mark(this_worker().mark)
    assert worker == this_worker()
    assert worker.is_alive()


def test_finished_child_is_dead() -> None:
    child = child_waiting_for_input()
    worker = worker_of(child)
    assert worker.is_alive()
    child.communicate(b"\n")
    assert not worker.is_alive()


def test_finished_child_that_nobody_awaited_is_dead() -> None:
    child = child_waiting_for_input()
    worker = worker_of(child)
    assert child.stdin is not None
    child.stdin.close()
    process = psutil.Process(child.pid)
    while process.status() != psutil.STATUS_ZOMBIE:
        pass
    assert not worker.is_alive()
    child.wait()


def test_another_process_under_the_same_number_is_not_taken_for_it() -> None:
    worker = this_worker()
    assert not replace(worker, started=worker.started - 100).is_alive()


def test_worker_on_another_host_counts_as_alive() -> None:
    assert Worker("another-host", 1, 0.0).is_alive()
