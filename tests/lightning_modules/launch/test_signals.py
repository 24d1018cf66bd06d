"""A rank outlives signals that reach every process of a step, also before it has imported."""

from __future__ import annotations

import os
import signal
import time

import psutil

from lightning_modules.launch.leader import Followers
from lightning_modules.launch.signals import SIGNALS
from tests.training import ranks_of


def test_a_rank_that_still_imports_outlives_each_signal() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    others = ranks_of(psutil.Process())
    followers = Followers(2)
    followers.start()
    try:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
        (rank,) = (each for each in ranks_of(psutil.Process()) if each not in others)
        for number in SIGNALS:
            os.kill(rank.pid, number)
        time.sleep(0.2)
        assert rank.is_running() and rank.status() != psutil.STATUS_ZOMBIE
    finally:
        followers.kill()
