"""How workers start: forked or spawned, and with which cards."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import search.engine.start
import search.machine.card
from lightning_modules.error import ConfigError
from search.config import compose
from search.engine.local import LocalEngine
from search.engine.start import Started, Starter
from search.machine.gpu import NVIDIA, Gpu
from search.plan.build import build_plan
from search.storage.location import study_folder
from search.study.prepare import check_study, prepare_study
from search.study.study import Study
from tests.conftest import wait_until

SHOWS = "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'), flush=True); input()"


def study_of(here: Path, *words: str) -> Study:
    plan = build_plan(compose("sweep", ["study=s", "model=tiny", "logger=none", *words]))
    folder = study_folder(here, plan.name)
    return prepare_study(plan, folder, check_study(plan, folder))


def test_a_hanging_forkserver_is_given_up(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of(here)
    starter = Starter(study, 1, "worker", print, lambda: False)
    (study.folder / "logs").mkdir(exist_ok=True)
    hangs = (sys.executable, "-c", "import time; time.sleep(1000)")
    monkeypatch.setattr(search.engine.start, "_WORKER", hangs)
    monkeypatch.setattr(search.engine.start, "START_SECONDS", 1.0)
    starter.forks = True
    lifeline, held = os.pipe()
    assert starter._forked(lifeline, held, held) is None
    assert starter._forkserver is None  # it was ended
    os.close(lifeline)
    os.close(held)


class Cards:
    """Starters of one study whose workers print their cards and wait, on a machine with two."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.notes: list[str] = []
        self._started: list[Started] = []

    def starter(self, name: str) -> Starter:
        return Starter(self.study, 2, name, self.notes.append, lambda: False)

    def start(self, starter: Starter, number: int) -> str | None:
        """Start a worker; return the cards that it prints."""
        started = starter.start(number)
        if started is None:
            return None
        self._started.append(started)
        log = starter.log(str(number))
        wait_until(lambda: log.read_text().endswith("\n"), "the worker")
        return log.read_text().strip()

    def end_first(self) -> None:
        """End the worker that started first."""
        worker = self._started.pop(0)
        os.close(worker.lifeline)
        worker.events.close()
        worker.process.wait()

    def end_all(self) -> None:
        while self._started:
            self.end_first()


@pytest.fixture
def two_cards(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Cards]]:
    cards = [Gpu(NVIDIA, name, f"GPU-{name}") for name in ("0", "1")]
    monkeypatch.setattr(search.engine.start, "gpus", lambda: cards)
    monkeypatch.setattr(search.machine.card, "lock_folder", lambda: here / "locks")
    monkeypatch.setattr(search.engine.start, "_WORKER", (sys.executable, "-c", SHOWS))
    made: list[Cards] = []

    def make(*words: str) -> Cards:
        made.append(Cards(study_of(here, *words)))
        return made[-1]

    yield make
    for each in made:
        each.end_all()


def test_a_joined_worker_takes_the_free_card(two_cards: Callable[..., Cards]) -> None:
    cards = two_cards()
    first, joined = cards.starter("worker"), cards.starter("joined")
    assert cards.start(first, 0) == "0"
    assert cards.start(joined, 0) == "1"
    assert cards.notes == []
    assert cards.start(joined, 1) == "0"
    assert cards.notes == ["no GPU is free: worker 1 shares GPU-0 with another"]


def test_no_more_workers_start_than_the_cards_may_have(two_cards: Callable[..., Cards]) -> None:
    cards = two_cards("search.workers_per_device=1")
    first, joined = cards.starter("worker"), cards.starter("joined")
    assert cards.start(first, 0) == "0"
    assert cards.start(joined, 0) == "1"
    assert cards.start(joined, 1) is None
    assert cards.notes == [
        "worker 1 is not started: all 2 GPUs have search.workers_per_device=1",
    ]
    with pytest.raises(ConfigError, match=r"^search.workers_per_device: a worker needs a free GPU"):
        LocalEngine(cards.study, 2, print, "third").run()
    cards.end_first()
    assert cards.start(cards.starter("fourth"), 0) == "0"


def test_training_on_the_cpu_takes_no_card(two_cards: Callable[..., Cards]) -> None:
    cards = two_cards("trainer.device=cpu")
    assert cards.start(cards.starter("worker"), 0) == str(os.environ.get(NVIDIA))
