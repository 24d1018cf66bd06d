from __future__ import annotations

import json
import os
import pickle
import sqlite3
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from search.sampler.base import seeded_sampler, trial_seed
from search.sampler.cmaes import GENERATION, Cmaes
from search.space.space import Parameter, Space

RANGE = FloatDistribution(0, 1)
SPACE = Space({}, {(): {path: Parameter(path, path, "interval(0,1)", RANGE) for path in "xy"}})


def study_of(storage: str | None = None, seed: int = 0) -> optuna.Study:
    sampler = seeded_sampler(Cmaes(num_startup_trials=1), SPACE, seed)
    return optuna.create_study(
        study_name="x", sampler=sampler, storage=storage, load_if_exists=True
    )


def loss(x: float, y: float) -> float:
    return (x - 0.2) ** 2 + 10 * (y - 0.7) ** 2


def run(study: optuna.Study, num_trials: int) -> list[float]:
    losses = []
    for _ in range(num_trials):
        trial = study.ask()
        values = SPACE.suggest(trial)
        losses.append(loss(values["x"], values["y"]))
        study.tell(trial, losses[-1])
    return losses


def test_it_closes_in_on_the_optimum() -> None:
    losses = run(study_of(), 120)
    assert sum(losses[-12:]) < sum(losses[:12]) / 50


def test_the_state_is_the_one_of_the_cmaes_package() -> None:
    from cmaes import CMA
    from numpy import array, full

    study = study_of()
    run(study, 31)
    reference = CMA(full(2, 0.5), 1 / 6, array([[0, 1], [0, 1]]), n_max_resampling=20)
    for generation in range(5):
        told = [t for t in study.trials if t.system_attrs.get(GENERATION) == generation]
        assert len(told) == reference.population_size
        reference.tell([(array([t.params["x"], t.params["y"]]), t.value or 0.0) for t in told])
    number = len(study.trials)
    reference.reseed_rng(trial_seed(0, number))
    expected = reference.ask()
    values = SPACE.suggest(study.ask())
    assert [values["x"], values["y"]] == pytest.approx(expected.tolist())


class Planted:
    """Creates a file when it is unpickled."""

    path = ""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return os.open, (self.path, os.O_CREAT)  # type: ignore[return-value]


def test_nothing_in_the_storage_is_executed_and_no_pickle_is_kept(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    study = study_of(storage)
    run(study, 14)
    Planted.path = str(tmp_path / "executed")
    planted = pickle.dumps(Planted()).hex()
    os.close(pickle.loads(bytes.fromhex(planted)))
    assert Path(Planted.path).exists()
    Path(Planted.path).unlink()
    with sqlite3.connect(tmp_path / "study.db") as database:
        for trial in study.trials:
            row = (trial._trial_id, "cma:optimizer:0", json.dumps(planted))  # Optuna's place
            query = "INSERT INTO trial_system_attributes (trial_id, key, value_json)"
            database.execute(f"{query} VALUES (?, ?, ?)", row)
    resumed = study_of(storage)
    run(resumed, 8)
    assert not Path(Planted.path).exists()
    for trial in resumed.trials[14:]:
        assert trial.system_attrs.keys() == {GENERATION}


def test_pruned_and_diverged_trials_complete_a_generation() -> None:
    study = study_of()
    for number in range(8):
        trial = study.ask()
        values = SPACE.suggest(trial)
        if number % 2:
            study.tell(trial, loss(values["x"], values["y"]))
        else:
            study.tell(trial, state=TrialState.PRUNED)
    SPACE.suggest(study.ask())
    assert study.trials[-1].system_attrs[GENERATION] == 1


@pytest.mark.parametrize("num_workers", [1, 4])
def test_workers_share_the_generations(num_workers: int) -> None:
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(study_name="x", storage=storage)
    workers = [
        optuna.load_study(
            study_name="x",
            storage=storage,
            sampler=seeded_sampler(Cmaes(num_startup_trials=1), SPACE, 0),
        )
        for _ in range(num_workers)
    ]
    best = []
    for _ in range(96 // num_workers):
        trials = [worker.ask() for worker in workers]
        for worker, trial in zip(workers, trials, strict=True):
            values = SPACE.suggest(trial)
            best.append(loss(values["x"], values["y"]))
            worker.tell(trial, best[-1])
    assert min(best) < 1e-2


def test_startup_trials_draw_each_parameter_on_its_own() -> None:
    sampler = seeded_sampler(Cmaes(num_startup_trials=4), SPACE, 0)
    study = optuna.create_study(sampler=sampler)
    for _ in range(3):
        values = SPACE.suggest(study.ask())
        assert values["x"] != values["y"]
