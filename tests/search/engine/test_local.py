from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

import search.engine.local
import search.machine.card
from lightning_modules.error import ConfigError
from search.config import compose
from search.engine.local import LocalEngine
from search.machine.gpu import NVIDIA, Gpu
from search.plan.build import build_plan
from search.storage.location import study_folder
from search.study.prepare import check_study, prepare_study
from tests.conftest import wait_until


def test_a_hanging_forkserver_is_given_up(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = build_plan(compose("sweep", ["study=s", "model=tiny", "logger=none"]))
    folder = study_folder(here, plan.name)
    engine = LocalEngine(prepare_study(plan, folder, check_study(plan, folder)), 1, print)
    (folder / "logs").mkdir(exist_ok=True)
    hangs = (sys.executable, "-c", "import time; time.sleep(1000)")
    monkeypatch.setattr(search.engine.local, "_WORKER", hangs)
    monkeypatch.setattr(search.engine.local, "START_SECONDS", 1.0)
    engine._forks = True
    lifeline, held = os.pipe()
    assert engine._forked(lifeline, held, held) is None
    assert engine._forkserver is None  # it was ended
    os.close(lifeline)
    os.close(held)


SHOWS = "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'), flush=True); input()"


class Engines:
    """Engines of one study whose workers print their cards and wait, on a machine with two."""

    def __init__(self, here: Path, *words: str) -> None:
        self.plan = build_plan(compose("sweep", ["study=s", "model=tiny", "logger=none", *words]))
        folder = study_folder(here, self.plan.name)
        self.study = prepare_study(self.plan, folder, check_study(self.plan, folder))
        self.notes: list[str] = []
        self._slots: list[Any] = []

    def engine(self, name: str) -> LocalEngine:
        return LocalEngine(self.study, 2, lambda event: self.notes.append(str(event)), name)

    def start(self, engine: LocalEngine, number: int) -> str | None:
        """Start a worker; return the cards that it prints."""
        slot = engine._start(number)
        if slot is None:
            return None
        self._slots.append(slot)
        log = engine._log(str(number))
        wait_until(lambda: log.read_text().endswith("\n"), "the worker")
        return log.read_text().strip()

    def end(self, place: int) -> None:
        """End a worker, by its place among those that were started."""
        slot = self._slots[place]
        if slot.lifeline:
            os.close(slot.lifeline)
            slot.process.wait()
            slot.lifeline = 0

    def end_all(self) -> None:
        for place in range(len(self._slots)):
            self.end(place)


@pytest.fixture
def two_cards(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cards = [Gpu(NVIDIA, name, f"GPU-{name}") for name in ("0", "1")]
    monkeypatch.setattr(search.engine.local, "gpus", lambda: cards)
    monkeypatch.setattr(search.machine.card, "lock_folder", lambda: here / "locks")
    monkeypatch.setattr(search.engine.local, "_WORKER", (sys.executable, "-c", SHOWS))


def test_a_joined_worker_takes_the_free_card(two_cards: None, here: Path) -> None:
    engines = Engines(here)
    first, joined = engines.engine("worker"), engines.engine("joined")
    assert engines.start(first, 0) == "0"
    assert engines.start(joined, 0) == "1"
    assert engines.notes == []
    assert engines.start(joined, 1) == "0"
    assert "no GPU is free: worker 1 shares GPU-0 with another" in engines.notes[0]
    engines.end_all()


def test_no_more_workers_start_than_the_cards_may_have(two_cards: None, here: Path) -> None:
    engines = Engines(here, "search.workers_per_device=1")
    first, joined = engines.engine("worker"), engines.engine("joined")
    assert engines.start(first, 0) == "0"
    assert engines.start(joined, 0) == "1"
    assert engines.start(joined, 1) is None
    assert "worker 1 is not started: all 2 GPUs have search.workers_per_device=1" in str(
        engines.notes
    )
    with pytest.raises(ConfigError, match=r"^search.workers_per_device: a worker needs a free GPU"):
        engines.engine("third").run()
    engines.end(0)
    assert engines.start(engines.engine("fourth"), 0) == "0"
    engines.end_all()


def test_training_on_the_cpu_takes_no_card(two_cards: None, here: Path) -> None:
    engines = Engines(here, "trainer.device=cpu")
    assert engines.start(engines.engine("worker"), 0) == str(os.environ.get(NVIDIA))
    engines.end_all()
