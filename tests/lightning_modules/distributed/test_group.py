"""A run on several devices: the same numbers as on one, one who decides, and nobody left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from lightning_modules.cache import Cache
from lightning_modules.callback.best import load_observed
from lightning_modules.check import check_run
from lightning_modules.distributed.group import GroupRank, Rank
from lightning_modules.error import ConfigError
from lightning_modules.fit import fit
from lightning_modules.folder import BEST_FILE
from lightning_modules.hooks import Hooks
from lightning_modules.launch.leader import RankFailed
from lightning_modules.logger.base import Identity
from lightning_modules.outcome import Ending, Outcome, Point
from lightning_modules.run import Run
from lightning_modules.strategy.base import Strategy
from search.config import build_run, compose
from tests.cut import StopAt

# A package of the user's own: the other ranks import it from where rank 0 has it.
OWN = '''
import os, signal
from dataclasses import dataclass
from lightning_modules.outcome import Ending, Stopped
from lightning_modules.schedule.constant import Constant
from lightning_modules.strategy.base import Strategy, disable_dropout

@dataclass(frozen=True, kw_only=True)
class Still(Strategy):
    """Without dropout, a run computes the same however it is cut."""

    def adapt(self, network):
        disable_dropout(network)
        return network

@dataclass(frozen=True, kw_only=True)
class Faulty(Constant):
    """At step 5, in the midst of it, `leader` or everyone else has its fault."""

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

TINY = ("model=tiny", "strategy=full", "strategy.lr=3e-3", "logger=none", "data.batch_size=16")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_of_ranks.py").write_text(OWN)
    sys.path.append(str(folder))
    import own_of_ranks

    yield own_of_ranks
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def kept() -> Iterator[Cache]:
    """One for all tests: another rank takes seconds to start."""
    cache = Cache()
    yield cache
    del cache
    assert not ranks_of(psutil.Process())


def ranks_of(process: psutil.Process) -> list[psutil.Process]:
    """Return the children of `process` that are ranks of its runs."""
    return [
        each
        for each in process.children()
        if each.status() != psutil.STATUS_ZOMBIE
        and "lightning_modules.launch.follower" in each.cmdline()
    ]


@pytest.fixture
def make_run(learnable: Path) -> Callable[..., Run]:
    def make(*words: str) -> Run:
        data = ("data=files", f"data.train={learnable}", "trainer.precision=fp32")
        return build_run(compose("train", [*TINY, *data, *words]).tree)

    return make


@pytest.fixture
def faulty(make_run: Callable[..., Run], own: Any) -> Callable[..., Run]:
    def make(fault: str, on_leader: bool = False) -> Run:
        run = make_run("trainer.devices=2", "trainer.max_grad_norm=null")
        leader = os.getpid()
        schedule = own.Faulty(warmup_epochs=0, fault=fault, leader=leader, on_leader=on_leader)
        return replace(run, schedule=schedule)

    return make


@pytest.fixture
def train(kept: Cache, here: Path) -> Callable[..., Outcome]:
    def call(run: Run, name: str, hooks: Hooks | None = None) -> Outcome:
        folder = here / name
        folder.mkdir(exist_ok=True)
        return fit(run, folder, Identity("test", None, folder), hooks, kept)

    return call


class PruneAt(Hooks):
    def __init__(self, number: int) -> None:
        self.number = number

    def on_validation(self, point: Point) -> str | None:
        return "not good enough" if point.number == self.number else None


def without_dropout(run: Run, own: Any) -> Run:
    values = {f.name: getattr(run.strategy, f.name) for f in fields(Strategy)}
    return replace(run, strategy=own.Still(**values))


@pytest.mark.thorough
@pytest.mark.parametrize("loss", [(), ("task.class_weights={positive: 5}",)])
def test_two_ranks_train_what_one_does(
    make_run: Callable[..., Run],
    train: Callable[..., Outcome],
    own: Any,
    here: Path,
    loss: tuple[str, ...],
) -> None:
    # Of 112 rows the last batch of 37 is a single one: rank 0 has none of it.
    words = ("data.batch_size=37", "trainer.epochs=3", *loss)
    alone = train(without_dropout(make_run(*words), own), "alone")
    num_threads = torch.get_num_threads()
    shared = train(without_dropout(make_run(*words, "trainer.devices=2"), own), "shared")
    assert torch.get_num_threads() == num_threads == shared.num_threads
    assert shared.hardware.startswith("cpu x 2 ranks, fp32")
    assert {p.name for p in (here / "alone").iterdir()} == {
        p.name for p in (here / "shared").iterdir()
    }
    for one, other in zip(alone.points, shared.points, strict=True):
        assert (one.step, one.metrics["accuracy"]) == (other.step, other.metrics["accuracy"])
        assert one.train_loss == pytest.approx(other.train_loss, abs=1e-5)
        assert one.validation_loss == pytest.approx(other.validation_loss, abs=1e-5)
    for load in (lambda folder: load_file(folder / BEST_FILE), load_observed):
        first, second = load(here / "alone"), load(here / "shared")
        assert first.keys() == second.keys()
        for name, tensor in first.items():
            torch.testing.assert_close(tensor, second[name], atol=2e-5, rtol=1e-4)


def test_rank_0_ends_the_run_on_both_and_the_next_one_finds_them_ready(
    make_run: Callable[..., Run], faulty: Callable[..., Run], train: Callable[..., Outcome]
) -> None:
    pruned = train(make_run("trainer.devices=2"), "pruned", PruneAt(2))
    assert (pruned.ending, pruned.reason) == (Ending.pruned, "not good enough")
    assert len(pruned.points) == 2
    ranks = ranks_of(psutil.Process())
    assert len(ranks) == 1
    diverged = train(faulty("diverge"), "diverged")
    assert diverged.ending is Ending.diverged
    in_a_step = train(faulty("stop", on_leader=True), "in-a-step")
    assert (in_a_step.ending, in_a_step.reason) == (Ending.diverged, "one example does not fit")
    assert ranks_of(psutil.Process()) == ranks


def test_interrupted_and_resumed_it_ends_bit_equal(
    make_run: Callable[..., Run], train: Callable[..., Outcome], here: Path
) -> None:
    run = make_run("trainer.devices=2")  # with the network's dropout of 0.1
    whole = train(run, "whole")
    first = train(run, "cut", StopAt(5))
    assert (first.ending, first.reason) == (Ending.interrupted, "interrupted after step 5")
    resumed = train(run, "cut")
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
    make_run: Callable[..., Run], faulty: Callable[..., Run], train: Callable[..., Outcome]
) -> None:
    train(make_run("trainer.devices=2"), "ready", PruneAt(1))
    begun = time.monotonic()
    with pytest.raises(RankFailed, match="rank 1 of 2 died: killed by SIGKILL"):
        train(faulty("kill"), "killed")
    assert time.monotonic() - begun < 15
    assert not ranks_of(psutil.Process())


@pytest.mark.thorough
def test_a_rank_that_fails_ends_the_run_with_its_reason(
    faulty: Callable[..., Run], here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    others = ranks_of(psutil.Process())
    run, identity = faulty("no such luck"), Identity("test", None, here)
    (here / "failed").mkdir()
    # Its own ranks: those that are warm print to where the test that started them looked.
    with pytest.raises(RankFailed, match="rank 1 of 2 failed: ValueError: no such luck"):
        fit(run, here / "failed", identity, None, Cache())
    assert "in factor" in capfd.readouterr().err  # the traceback
    assert ranks_of(psutil.Process()) == others


@pytest.mark.thorough
def test_a_rank_that_stops_ends_the_run_as_rank_0_would(
    faulty: Callable[..., Run], train: Callable[..., Outcome]
) -> None:
    outcome = train(faulty("stop"), "stopped")
    assert (outcome.ending, outcome.reason) == (Ending.diverged, "one example does not fit")


ENDLESS = """
import sys
from pathlib import Path
from lightning_modules.logger.base import Identity
from lightning_modules.hooks import Hooks
from lightning_modules.fit import fit
from search.config import build_run, compose

class Tell(Hooks):
    def on_step(self, step, num_steps):
        print(step, flush=True)

here = Path.cwd()
run = build_run(compose("train", sys.argv[1:]).tree)
fit(run, here / "run", Identity("test", None, here), Tell())
"""


@pytest.mark.thorough
def test_no_rank_outlives_rank_0(learnable: Path, here: Path) -> None:
    words = (*TINY, "data=files", f"data.train={learnable}", "trainer.devices=2")
    (here / "run").mkdir()
    lead = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, *words, "trainer.epochs=1000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
    )
    assert lead.stdout is not None
    assert lead.stdout.readline() == "1\n"
    ranks = ranks_of(psutil.Process(lead.pid))
    assert len(ranks) == 1
    lead.send_signal(signal.SIGKILL)
    lead.wait()
    lead.stdout.close()
    _, alive = psutil.wait_procs(ranks, timeout=10)
    assert not alive


def test_a_batch_has_a_row_for_every_device(make_run: Callable[..., Run]) -> None:
    run = make_run("trainer.devices=3", "data.batch_size=2")
    with pytest.raises(ConfigError) as caught:
        check_run(run)
    assert str(caught.value) == (
        "data.batch_size: must be >= 3, the devices that share a batch, got 2. "
        "Set data.batch_size=3, or trainer.devices=2."
    )
    with pytest.raises(ConfigError, match=r"trainer\.devices: must be > 0"):
        make_run("trainer.devices=0")


def test_each_rank_draws_its_own_dropout_and_one_alone_what_it_always_did() -> None:
    others: Any = None
    assert Rank().stream == GroupRank(0, 2, others).stream == ()
    assert GroupRank(1, 2, others).stream == ("rank", 1)
