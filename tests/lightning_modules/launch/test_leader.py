"""Rank 0 leads the other ranks: it decides how a run ends, and no process outlives it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from lightning_modules.cache import Cache
from lightning_modules.distributed.group import COLLECTIVE_TIMEOUT
from lightning_modules.folder import BEST_FILE
from lightning_modules.hooks import Hooks
from lightning_modules.launch.leader import RankFailed
from lightning_modules.outcome import Ending, Outcome
from lightning_modules.run import Run
from tests.cut import StopAt
from tests.training import PruneAt, ranks_of, tiny_run, train

# A user's own package: the other ranks import it from where rank 0 found it.
PLUGIN = '''
import os, signal
from dataclasses import dataclass
from lightning_modules.outcome import Ending, Stopped
from lightning_modules.schedule.constant import Constant

@dataclass(frozen=True, kw_only=True)
class Faulty(Constant):
    """During step 5 it fails on process `leader`, or on all others."""

    fault: str
    leader: int
    on_leader: bool = False

    def factor(self, step, length):
        if self.fault == "diverge":
            return 1e30 if step >= 5 else 1.0
        if step == 5 and (os.getpid() == self.leader) == self.on_leader:
            if self.fault == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.fault == "stop":
                raise Stopped(Ending.diverged, "one example does not fit")
            raise ValueError(self.fault)
        return 1.0
'''


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "rank_plugin.py").write_text(PLUGIN)
    sys.path.append(str(folder))
    import rank_plugin

    yield rank_plugin
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def shared_cache() -> Iterator[Cache]:
    """One cache for all tests here, because starting another rank takes seconds."""
    cache = Cache()
    yield cache
    del cache
    assert not ranks_of(psutil.Process())


@pytest.fixture
def make_run(learnable: Path) -> Callable[..., Run]:
    return partial(tiny_run, learnable)


@pytest.fixture
def faulty(make_run: Callable[..., Run], plugin: Any) -> Callable[..., Run]:
    def make(fault: str, on_leader: bool = False) -> Run:
        run = make_run("trainer.devices=2", "trainer.max_grad_norm=null")
        leader = os.getpid()
        schedule = plugin.Faulty(warmup_epochs=0, fault=fault, leader=leader, on_leader=on_leader)
        return replace(run, schedule=schedule)

    return make


@pytest.fixture
def lead(shared_cache: Cache, here: Path) -> Callable[..., Outcome]:
    def call(run: Run, name: str, hooks: Hooks | None = None) -> Outcome:
        return train(run, here / name, hooks, shared_cache)

    return call


def test_rank_0_ends_the_run_on_both_ranks_and_keeps_the_processes(
    make_run: Callable[..., Run], faulty: Callable[..., Run], lead: Callable[..., Outcome]
) -> None:
    pruned = lead(make_run("trainer.devices=2"), "pruned", PruneAt(2))
    assert (pruned.ending, pruned.reason) == (Ending.pruned, "not good enough")
    assert len(pruned.points) == 2
    ranks = ranks_of(psutil.Process())
    assert len(ranks) == 1
    diverged = lead(faulty("diverge"), "diverged")
    assert diverged.ending is Ending.diverged
    in_a_step = lead(faulty("stop", on_leader=True), "in-a-step")
    assert (in_a_step.ending, in_a_step.reason) == (Ending.diverged, "one example does not fit")
    assert ranks_of(psutil.Process()) == ranks


def test_a_run_on_two_ranks_resumes_bit_equal(
    make_run: Callable[..., Run], lead: Callable[..., Outcome], here: Path
) -> None:
    run = make_run("trainer.devices=2")  # with the network's dropout of 0.1
    whole = lead(run, "whole")
    first = lead(run, "cut", StopAt(5))
    assert (first.ending, first.reason) == (Ending.interrupted, "interrupted after step 5")
    resumed = lead(run, "cut")
    for one, other in zip(whole.points, resumed.points, strict=True):
        assert (one.step, one.train_loss, one.metrics) == (
            other.step,
            other.train_loss,
            other.metrics,
        )
    weights = load_file(here / "cut" / BEST_FILE)
    for name, tensor in load_file(here / "whole" / BEST_FILE).items():
        assert torch.equal(tensor, weights[name]), name


def test_a_killed_rank_ends_the_run_at_once(
    make_run: Callable[..., Run], faulty: Callable[..., Run], lead: Callable[..., Outcome]
) -> None:
    lead(make_run("trainer.devices=2"), "ready", PruneAt(1))
    started = time.monotonic()
    with pytest.raises(RankFailed, match="rank 1 of 2 died: killed by SIGKILL"):
        lead(faulty("kill"), "killed")
    # An unnoticed death would block rank 0 until the collective times out, after 10 minutes.
    assert time.monotonic() - started < COLLECTIVE_TIMEOUT.total_seconds() / 4
    assert not ranks_of(psutil.Process())


@pytest.mark.thorough
def test_a_rank_that_fails_ends_the_run_with_its_reason(
    faulty: Callable[..., Run], here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    others = ranks_of(psutil.Process())
    run = faulty("no such luck")
    # With its own cache: running ranks print to the stderr of the test that started them.
    with pytest.raises(RankFailed, match="rank 1 of 2 failed: ValueError: no such luck"):
        train(run, here / "failed", None, Cache())
    assert "in factor" in capfd.readouterr().err  # the traceback
    assert ranks_of(psutil.Process()) == others


@pytest.mark.thorough
def test_a_rank_that_stops_ends_the_run_like_rank_0(
    faulty: Callable[..., Run], lead: Callable[..., Outcome]
) -> None:
    outcome = lead(faulty("stop"), "stopped")
    assert (outcome.ending, outcome.reason) == (Ending.diverged, "one example does not fit")


def test_runs_on_one_device_have_no_other_ranks(
    make_run: Callable[..., Run], lead: Callable[..., Outcome]
) -> None:
    ranks = ranks_of(psutil.Process())
    assert lead(make_run("trainer.max_steps=1"), "one").ending is Ending.finished
    assert ranks_of(psutil.Process()) == ranks
