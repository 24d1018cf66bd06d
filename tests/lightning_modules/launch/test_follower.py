from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import time
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import psutil
import pytest

from lightning_modules.distributed.group import Lost
from lightning_modules.launch.follower import Channel, Follower
from lightning_modules.outcome import Ending, Stopped
from tests.training import TINY, ranks_of


class Scripted(Channel):
    """A channel on which rank 0 sends the given messages."""

    def __init__(self, *kinds: str) -> None:
        self.kinds = list(kinds)

    def receive(self, seconds: float | None = None) -> tuple[str, Any]:
        if not self.kinds:
            raise queue.Empty
        return self.kinds.pop(0), None


def follower(*kinds: str) -> Follower:
    collective: Any = None
    return Follower(1, 2, collective, Scripted(*kinds))


def test_a_follower_proceeds_until_rank_0_stops_the_run() -> None:
    rank = follower("proceed", "proceed", "stop")
    rank.proceed()
    rank.proceed()
    assert not rank.has_stopped
    with pytest.raises(Stopped) as stop:
        rank.proceed()
    assert stop.value.ending is Ending.interrupted
    assert rank.has_stopped


def test_a_broken_collective_is_no_error_if_rank_0_stopped_the_run() -> None:
    follower("stop").raise_unless_stopped(Lost("connection closed"))


@pytest.mark.parametrize("kinds", [(), ("proceed",)])
def test_a_broken_collective_is_an_error_otherwise(kinds: tuple[str, ...]) -> None:
    with pytest.raises(Lost, match="connection closed"):
        follower(*kinds).raise_unless_stopped(Lost("connection closed"))


@pytest.mark.usefixtures("one_thread")  # a forked child has no other threads
def test_a_process_answers_on_its_channel_and_ends_when_it_closes() -> None:
    ours, theirs = Pipe()
    child = os.fork()
    if child == 0:
        try:
            ours.close()
            channel = Channel(theirs)
            for _ in range(2):
                channel.send(*channel.receive())
            time.sleep(60)
        finally:
            os._exit(0)
    theirs.close()
    for message in (("start", {"step": 3}), ("proceed", None)):
        ours.send_bytes(pickle.dumps(message))
    assert pickle.loads(ours.recv_bytes()) == ("start", {"step": 3})
    assert pickle.loads(ours.recv_bytes()) == ("proceed", None)
    ours.close()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 1


ENDLESS = """
import sys
from pathlib import Path
from lightning_modules.logger.base import Identity
from lightning_modules.hooks import Hooks
from lightning_modules.fit import fit
from search.config import build_run, compose

class Print(Hooks):
    def on_step(self, step, num_steps):
        print(step, flush=True)

here = Path.cwd()
run = build_run(compose("train", sys.argv[1:]).tree)
fit(run, here / "run", Identity("test", None, here), Print())
"""


@pytest.mark.thorough
def test_no_rank_outlives_rank_0(learnable: Path, here: Path) -> None:
    words = (*TINY, "data=files", f"data.train={learnable}", "trainer.devices=2")
    (here / "run").mkdir()
    leader = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, *words, "trainer.epochs=1000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
    )
    assert leader.stdout is not None
    assert leader.stdout.readline() == "1\n"
    ranks = ranks_of(psutil.Process(leader.pid))
    assert len(ranks) == 1
    leader.send_signal(signal.SIGKILL)
    leader.wait()
    leader.stdout.close()
    _, alive = psutil.wait_procs(ranks, timeout=60)
    assert not alive
