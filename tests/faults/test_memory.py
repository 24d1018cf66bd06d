"""A trial that runs out of memory continues with smaller batches or ends as infeasible."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import search.engine.local
from lightning_modules.outcome import Ending
from search.config import compose
from search.engine.local import LocalEngine, _Slot
from search.machine.process import num_memory_kills
from search.plan.build import build_plan
from search.storage.attempt_end import MEMORY_REASON
from search.storage.failure import FailureKind
from search.storage.location import study_folder
from search.study.open import load_study
from search.study.prepare import check_study, prepare_study
from search.study.session import join
from search.worker.event import Ended, Event
from tests.faults.conftest import SMALL, Start, ends_of

# A real shortage: a trial may use at most `room` MB more than its process has when it starts. It
# logs the size of the heap at that time, one line per trial.
CRAMPED = '''
import ctypes, gc, json, os, resource
from dataclasses import dataclass

import psutil

from lightning_modules.strategy.base import Strategy


class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd",
        "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]


@dataclass(frozen=True, kw_only=True)
class Cramped(Strategy):
    """Trains with little memory."""

    room: int

    def adapt(self, network):
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        gc.collect()
        libc = ctypes.CDLL(None)
        libc.mallinfo2.restype = Mallinfo
        heap = libc.mallinfo2()
        memory = psutil.Process().memory_info()
        with open("memory.jsonl", "a") as file:
            record = {"pid": os.getpid(), "rss": memory.rss, "heap": heap.uordblks + heap.hblkhd}
            print(json.dumps({**record, "room": self.room}), file=file)
        if 0 < self.room < 1000:
            network.ballast = ballast = []
            resource.setrlimit(resource.RLIMIT_AS, (memory.vms, hard))
            for size in (1 << 20, 1 << 16):  # of what earlier trials gave back to the heap
                try:
                    while True:
                        ballast.append(bytearray(size))
                except MemoryError:
                    pass
            resource.setrlimit(resource.RLIMIT_AS, (memory.vms + (self.room << 20), hard))
        return network
'''
YAML = "_target_: cramped_of_mine.Cramped\nlr: 1e-3\nlr_min: 1e-4\nlr_max: 1e-2\nroom: 0\n"


@pytest.fixture
def own(here: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Write a strategy with little memory; return the words that use it."""
    (here / "cramped_of_mine").mkdir()
    (here / "cramped_of_mine/__init__.py").write_text(CRAMPED)
    (here / "conf/strategy").mkdir(parents=True)
    (here / "conf/strategy/cramped.yaml").write_text(YAML)
    monkeypatch.setenv("PYTHONPATH", f"{here}:{':'.join(filter(None, sys.path))}")
    return ("--config-dir=conf", "search.plugins=[cramped_of_mine]", "strategy=cramped")


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory and reads glibc's heap")
def test_batches_are_halved_or_the_trial_is_infeasible_and_the_next_trial_has_all_memory(
    sweep: Start, own: tuple[str, ...], here: Path
) -> None:
    rows = [
        {"text": f"{n} " + f"It was {'great' if n % 2 else 'awful'}. " * 120, "label": str(n % 2)}
        for n in range(80)
    ]
    (here / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    it = sweep(
        *own,
        *("data=files", "data.train=long.jsonl", "data.max_length=400", "data.batch_size=32"),
        *("model.width=64", "trainer.epochs=1", "optimizer.lr=1e-3", "search.num_trials=6"),
        "strategy.room=choice(0,5,180,1000,1001)",
        "search.enqueue=[{strategy.room: 180},{strategy.room: 1000},{strategy.room: 5},"
        "{strategy.room: 1001}]",
    )
    output = it.end()
    assert it.process.returncode == 0, output
    trials = it.trials
    assert [t.params["strategy.room"] for t in trials] == [0, 180, 1000, 5, 1001]
    assert [t.user_attrs["attempt"] for t in trials] == [1] * 5

    # Trial 1 continues with smaller micro-batches; 8,192 tokens are 20 examples.
    halved = "out of memory at step 1: micro-batches of 10 instead of 20; "
    assert f"trial 1: {halved}the effective batch size stays 32" in output, output
    # Trial 3 halves its batch down to one example, and ends in a way that the sampler learns from.
    assert [t.state.name for t in trials] == [*["COMPLETE"] * 3, "PRUNED", "COMPLETE"]
    assert re.search(r"trial 3: out of memory at step 1: micro-batches of 1 instead of ", output)
    reason = "one example of 400 tokens does not fit into memory"
    assert (trials[3].user_attrs["reason"], trials[3].user_attrs["ending"]) == (
        reason,
        "infeasible",
    )
    assert trials[3].system_attrs["constraints:infeasible"] == 1.0

    # Each trial starts with as much memory in use as the one before it, within 1 %. The one after
    # the infeasible trial is in a new process, and starts with as much as the first.
    begun = [json.loads(line) for line in (here / "memory.jsonl").read_text().splitlines()]
    assert [each["room"] for each in begun] == [0, 180, 1000, 5, 1001]
    pids = [each["pid"] for each in begun]
    assert len(set(pids[:4])) == 1 and pids[4] != pids[0]
    heaps = [each["heap"] for each in begun]
    assert heaps[2] == pytest.approx(heaps[1], rel=0.01)
    assert heaps[3] == pytest.approx(heaps[2], rel=0.01)
    assert heaps[4] == pytest.approx(heaps[0], rel=0.01)


def test_after_an_out_of_memory_kill_the_next_attempt_has_a_smaller_micro_batch(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = build_plan(compose("sweep", [*("study=s", *SMALL), "search.max_attempts=2"]))
    folder = study_folder(Path(), plan.name)
    study = prepare_study(plan, folder, check_study(plan, folder))
    events: list[Event] = []
    engine = LocalEngine(study, 1, events.append)
    sizes = []
    while not study.trial(0).state.is_finished():
        session = join(load_study(folder))
        attempt = session.next_attempt()
        assert attempt is not None and attempt.number == 0
        sizes.append(attempt.micro_batch_size)
        process = subprocess.Popen(["sleep", "100"])
        held = -1  # no pipe
        slot = _Slot(0, process, held, num_memory_kills(), session.name, 0)
        process.kill()
        code = process.wait()
        # Only the kernel's count of out-of-memory kills distinguishes it from any other kill.
        assert engine._failure(slot, code)[0] is FailureKind.killed
        with monkeypatch.context() as patch:
            patch.setattr(search.engine.local, "num_memory_kills", lambda: num_memory_kills() + 1)
            fault, reason = engine._failure(slot, code)
        assert fault is FailureKind.out_of_memory
        engine._give_back(slot, fault, reason)
        session.leave()
    assert sizes == [None, 8, 4, 2, 1]
    trial = study.trial(0)
    assert (trial.state.name, trial.user_attrs["ending"]) == ("PRUNED", "infeasible")
    assert trial.user_attrs["reason"] == MEMORY_REASON
    assert trial.system_attrs["constraints:infeasible"] == 1.0
    assert [end["fault"] for end in ends_of(trial)] == ["out of memory"] * 5
    # It is reported as infeasible: three of them in a row do not stop the sweep.
    assert events[-1] == Ended(0, Ending.infeasible, MEMORY_REASON, None, 0.0)
