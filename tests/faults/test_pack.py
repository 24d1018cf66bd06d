"""A pack whose process is killed: nothing is lost or counted twice, and results stay the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from lightning_modules.cache import Cache
from search.config import build_run, compose
from search.storage.attribute import CURVE
from search.storage.curve import points_of
from search.study.study import Study
from search.trained.find import find_study
from tests.faults.conftest import Start, Sweep, ends_of, status
from tests.training import train

WORDS = (
    *("strategy=lora", "search/sampler=random", "search.seed=3", "search.portfolio=false"),
    *("search.num_trials=3", "search.certify=true", "search.certify_seeds=2"),
    *("model=hub", "data=files", "trainer.epochs=8"),
)
NUM_VALIDATIONS = 16


def write_model(folder: Path) -> str:
    """Write the tiny model, so that all seeds have the same frozen weights; return the word."""
    tiny: Any = build_run(compose("train", ["model=tiny"]).tree).model
    tiny.load_tokenizer().save_pretrained(folder)
    tiny.load_network("AutoModel").save_pretrained(folder)
    return f"model.path={folder}"


def kill_a_pack(sweep: Sweep, num: int) -> list[int]:
    """Kill the worker when so many trials have a checkpoint; return the last steps of these."""
    trials = sweep.until(lambda: found if len(found := sweep.under_way()) == num else None, 600)
    (worker,) = sweep.workers
    worker.kill()  # the sweep replaces it
    return [trial.user_attrs["checkpoint"]["step"] for trial in trials]


def assert_whole(trials: Sequence[optuna.trial.FrozenTrial], steps: Sequence[int]) -> None:
    """Assert that each trial was resumed once, from these steps or later, and is complete."""
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * len(steps)
    for trial, step in zip(trials, steps, strict=True):
        (end,) = ends_of(trial)
        assert (end["attempt"], end["fault"]) == (1, "killed")
        assert end["step"] >= step and "killed by signal 9" in end["reason"]
        assert trial.user_attrs["attempt"] == 2
        assert len(trial.intermediate_values) == NUM_VALIDATIONS  # each once


def assert_as_alone(study: Study, folder: Path) -> None:
    """Assert that each trial came to what its run comes to alone, in one go."""
    cache = Cache()
    for trial in study.trials:
        run = study.plan.run(study.params_of(trial))
        alone = train(run, folder / str(trial.number), cache=cache)
        assert trial.value == pytest.approx(study.plan.objectives[0].value(alone), abs=1e-6)
        losses = [point.validation_loss for point in alone.points]
        curve = points_of(trial.system_attrs[CURVE])
        assert [point.validation_loss for point in curve] == pytest.approx(losses, abs=1e-4)


@pytest.mark.thorough
def test_killed_packs_lose_nothing_and_count_nothing_twice(
    sweep: Start, learnable: Path, here: Path, one_thread: None
) -> None:
    words = (*WORDS, f"data.train={learnable}", write_model(here / "model"))
    running = sweep(*words, "search.pack=4")
    runs = replace(running, name="s.certify", _read=None)
    searched = kill_a_pack(running, 3)
    running.until(lambda: runs.trials, 600)
    assert not find_study("s").looks  # the test rows are still sealed
    certified = kill_a_pack(runs, 4)
    output = running.end(seconds=900)
    assert running.process.returncode == 0, output
    assert "resumes from its checkpoint at step" in output and "Certificate: " in output
    assert_whole(running.trials, searched)
    assert_whole(runs.trials, certified)
    state = status()
    assert state["states"]["complete"] == state["num_trials"] == 3
    assert sorted(find_study("s.certify").scored) == [0, 1, 2, 3]
    assert len(find_study("s").looks) == 4  # each run was scored once

    for name in ("s", "s.certify"):
        assert_as_alone(find_study(name), here / "alone" / name)
