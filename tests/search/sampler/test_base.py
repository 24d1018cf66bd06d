"""What every sampler under conf/search/sampler must hold."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import optuna
import pytest

from search.config import CONF_DIR, compose
from search.lease import this_worker
from search.plan import Plan, build_plan
from search.prepare import check_study, prepare_study
from search.sampler.base import seeded_sampler
from search.study import open_study, study_folder

NUM_TRIALS = 8
SAMPLERS = sorted(path.stem for path in (CONF_DIR / "search/sampler").glob("*.yaml"))
each_sampler = pytest.mark.parametrize("name", SAMPLERS)


@cache
def plan_of(name: str, *overrides: str) -> Plan:
    startup = ("search.sampler.num_startup_trials=3",) if name == "tpe" else ()
    words = ["model=tiny", "logger=none", f"search/sampler={name}", *startup, *overrides]
    return build_plan(compose("sweep", words).tree)


def values_of(plan: Plan, num_workers: int = 1) -> list[dict[str, Any]]:
    """Return the values of trials that workers, each with a fresh sampler, ask for in turn."""
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(study_name="x", storage=storage, direction="maximize")
    workers = [
        optuna.load_study(
            study_name="x",
            storage=storage,
            sampler=seeded_sampler(plan.search.sampler, plan.default.seed),
        )
        for _ in range(num_workers)
    ]
    found = []
    for number in range(NUM_TRIALS):
        worker = workers[number % num_workers]
        trial = worker.ask()
        found.append(plan.space.suggest(trial))
        worker.tell(trial, found[-1]["optimizer.lr"])
    return found


def test_every_sampler_is_found() -> None:
    assert SAMPLERS == ["random", "tpe"]


@each_sampler
def test_fresh_samplers_of_one_seed_agree_trial_by_trial(name: str) -> None:
    assert values_of(plan_of(name)) == values_of(plan_of(name))


@each_sampler
def test_another_seed_gives_other_values(name: str) -> None:
    assert values_of(plan_of(name)) != values_of(plan_of(name, "seed=1"))


@each_sampler
def test_trial_numbers_differ(name: str) -> None:
    rates = [values["optimizer.lr"] for values in values_of(plan_of(name))]
    assert len(set(rates)) == NUM_TRIALS


@each_sampler
def test_values_lie_in_the_space(name: str) -> None:
    plan = plan_of(name)
    assert all(plan.space.contains(values) for values in values_of(plan))


@each_sampler
def test_who_asks_does_not_matter(name: str) -> None:
    plan = plan_of(name)
    assert values_of(plan, num_workers=4) == values_of(plan)


@each_sampler
def test_four_interleaved_workers_try_distinct_configurations(here: Path, name: str) -> None:
    plan = plan_of(name, f"search.num_trials={NUM_TRIALS}")
    folder = study_folder(here, plan.name)
    prepare_study(plan, folder, check_study(plan, folder))
    workers = [open_study(plan, folder) for _ in range(4)]
    attempts = []
    for number in range(NUM_TRIALS):
        attempt = workers[number % 4].next_attempt(this_worker())
        assert attempt is not None
        attempts.append(attempt)
    assert [attempt.number for attempt in attempts] == list(range(NUM_TRIALS))
    assert len({tuple(attempt.values.values()) for attempt in attempts}) == NUM_TRIALS
    assert all(worker.next_attempt(this_worker()) is None for worker in workers)
