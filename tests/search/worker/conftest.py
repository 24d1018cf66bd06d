"""Small studies for workers in the calling process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from signal import getsignal, signal

import pytest

from search.config import compose
from search.machine.signals import SIGNALS
from search.plan.build import build_plan
from search.storage.location import study_folder
from search.study.prepare import check_study, prepare_study
from search.study.study import Study

SMALL = (
    *("study=s", "model=tiny", "strategy=full", "logger=none", "trainer.precision=fp32"),
    *("search/space=none", "optimizer.lr=tag(log,interval(1e-4,1e-2))"),
    *("search/pruner=none", "trainer.max_steps=2", "data.batch_size=8"),
)

Prepare = Callable[..., Study]


@pytest.fixture
def prepared(here: Path, learnable: Path, one_thread: None) -> Prepare:
    """Return a function that prepares a study of short trainings."""

    def prepare(*words: str) -> Study:
        data = ("data=files", f"data.train={learnable}")
        plan = build_plan(compose("sweep", [*SMALL, *data, *words]))
        folder = study_folder(here, plan.name)
        return prepare_study(plan, folder, check_study(plan, folder))

    return prepare


@pytest.fixture
def own_signals() -> Iterator[None]:
    """Restore the signal handlers that a worker replaces."""
    before = {number: getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal(number, handler)
