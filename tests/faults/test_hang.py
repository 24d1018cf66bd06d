"""A trial that hangs is killed with all its children and retried once; the study continues."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.faults.conftest import Start, ends_of, status

# At step 5 it starts a process, which starts another in a session of its own, and sleeps in C.
# `deep` holds the GIL meanwhile, so that no signal handler and no thread of Python can run.
HANGS = '''
import ctypes, os, subprocess, sys
from dataclasses import dataclass

from lightning_modules.strategy.base import Strategy

CHILD = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)", "faulttests"],
                 start_new_session=True)
time.sleep(1000)
"""


@dataclass(frozen=True, kw_only=True)
class Hangs(Strategy):
    """Hangs."""

    how: str

    def adapt(self, network):
        left = [5]

        def hang(*_):
            left[0] -= network.training
            if self.how != "no" and left[0] == 0:
                subprocess.Popen([sys.executable, "-c", CHILD, "faulttests"])
                libc = ctypes.PyDLL(None) if self.how == "deep" else ctypes.CDLL(None)
                libc.sleep(1000)

        network.register_forward_pre_hook(hang)
        return network
'''
YAML = "_target_: faulty_of_mine.hangs.Hangs\nlr: 1e-3\nlr_min: 1e-4\nlr_max: 1e-2\nhow: 'no'\n"


@pytest.fixture
def own(here: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Write a strategy that hangs; return the words that use it."""
    (here / "faulty_of_mine").mkdir()
    (here / "faulty_of_mine/hangs.py").write_text(HANGS)
    (here / "conf/strategy").mkdir(parents=True)
    (here / "conf/strategy/hangs.yaml").write_text(YAML)
    monkeypatch.setenv("PYTHONPATH", f"{here}:{':'.join(filter(None, sys.path))}")
    monkeypatch.setenv("FINESWEEP_PLUGINS", "faulty_of_mine")  # for status
    return ("--config-dir=conf", "search.plugins=[faulty_of_mine]", "strategy=hangs")


def children_of_hangs(here: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        is_child = "faulttests" in (process.info["cmdline"] or ())
        if is_child and process.info["status"] != psutil.STATUS_ZOMBIE:
            with suppress(psutil.NoSuchProcess):
                if Path(process.cwd()) == here:
                    found.append(process)
    return found


@pytest.mark.parametrize("how", ["deep", pytest.param("shallow", marks=pytest.mark.slow)])
def test_a_hanging_trial_is_killed_with_its_children_and_retried_once(
    sweep: Start, own: tuple[str, ...], how: str
) -> None:
    it = sweep(
        *own,
        "strategy.how=choice(no,deep,shallow)",
        f"search.enqueue=[{{strategy.how: {how}}}]",
        # Longer than a sound trial is without progress, even on a busy machine.
        "search.hang_seconds=10",
        "search.num_trials=2",
        "trainer.epochs=1",
        "trainer.checkpoint_seconds=1000",  # else every attempt would get further
    )
    it.until(lambda: len(children_of_hangs(it.folder)) == 2)
    output = it.end()
    assert not children_of_hangs(it.folder) and not it.workers
    reason = r"no progress for 10 s, training, step [1-5] of 38"
    assert re.search(rf"trial 1 attempt 1 ended: {reason}; it will be retried", output), output
    verdict = rf"2 attempts made no progress; the last: {reason}"
    assert re.search(verdict, output), output
    assert it.process.returncode == 0, output
    default, hung = it.trials
    assert default.state.name == "COMPLETE"
    assert hung.state.name == "FAIL"
    assert re.fullmatch(verdict, hung.user_attrs["reason"])
    assert [end["fault"] for end in ends_of(hung)] == ["hung", "hung"]
    state = status()
    assert state["states"]["fail"] == 1 and state["remaining"] == 0
