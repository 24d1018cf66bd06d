"""Properties of every sampler under conf/search/sampler."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import optuna
import pytest

from lightning_modules.error import ConfigError
from lightning_modules.outcome import Ending
from search.config import compose
from search.plan.build import build_plan
from search.plan.plan import Plan
from search.sampler.base import seeded_sampler
from search.storage.attribute import constraint
from search.storage.location import study_folder
from search.study.open import open_study
from search.study.prepare import check_study, prepare_study
from search.study.session import join
from search.study.suggest import waiting_trial
from tests.options import names_of

NUM_TRIALS = 8
SAMPLERS = names_of("search/sampler")
each_sampler = pytest.mark.parametrize("name", SAMPLERS)


GRID = (
    "search/space=none",
    "optimizer.lr=choice(1e-4,3e-4,1e-3)",
    "data.batch_size=choice(8,16,32)",
)


@cache
def plan_of(name: str, *overrides: str) -> Plan:
    startup = {"tpe": 3, "gp": 3, "cmaes": 2}.get(name)
    words = ["model=tiny", "logger=none", "search.seed=0", f"search/sampler={name}", *overrides]
    words += [f"search.sampler.num_startup_trials={startup}"] if startup else []
    words += GRID if name == "grid" else ()
    return build_plan(compose("sweep", words))


def values_of(
    plan: Plan, num_workers: int = 1, num_trials: int = NUM_TRIALS
) -> list[dict[str, Any]]:
    """Return the values of trials that workers, each with a fresh sampler, request in turn."""
    storage = optuna.storages.InMemoryStorage()
    queue = optuna.create_study(study_name="x", storage=storage, direction="maximize")
    for values in plan.first[: 1 if not plan.search.sampler.is_finite else None]:
        queue.add_trial(waiting_trial(plan.space, values))
    workers = [
        optuna.load_study(
            study_name="x",
            storage=storage,
            sampler=seeded_sampler(
                plan.search.sampler,
                plan.space,
                plan.sampler_seed,
                defaults=plan.defaults_of_arms,
            ),
        )
        for _ in range(num_workers)
    ]
    tried = []
    for number in range(num_trials):
        worker = workers[number % num_workers]
        trial = worker.ask()
        tried.append(plan.space.suggest(trial))
        worker.tell(trial, tried[-1]["optimizer.lr"])
    return tried


@each_sampler
def test_fresh_samplers_of_one_seed_agree_trial_by_trial(name: str) -> None:
    assert values_of(plan_of(name)) == values_of(plan_of(name))


@pytest.mark.parametrize("name", sorted({*SAMPLERS} - {"grid"}))
def test_another_seed_gives_other_values(name: str) -> None:
    assert values_of(plan_of(name)) != values_of(plan_of(name, "search.seed=1"))


@each_sampler
def test_trial_numbers_differ(name: str) -> None:
    tried = {tuple(values.values()) for values in values_of(plan_of(name))}
    assert len(tried) == NUM_TRIALS


@each_sampler
def test_values_lie_in_the_space(name: str) -> None:
    plan = plan_of(name)
    assert all(plan.space.holds(values) for values in values_of(plan))


@each_sampler
def test_trials_that_diverged_do_not_stop_the_search(name: str) -> None:
    plan = plan_of(name)
    queue = optuna.create_study(direction="maximize")
    for values in plan.first if plan.search.sampler.is_finite else []:
        queue.add_trial(waiting_trial(plan.space, values))
    defaults = plan.defaults_of_arms
    queue.sampler = seeded_sampler(
        plan.search.sampler, plan.space, plan.sampler_seed, defaults=defaults
    )
    for number in range(NUM_TRIALS):
        trial = queue.ask()
        plan.space.suggest(trial)
        if number % 3 == 1:
            storage = queue._storage
            storage.set_trial_system_attr(trial._trial_id, constraint(Ending.diverged), 1.0)
            queue.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            queue.tell(trial, number / 10)
    assert len({str(trial.params) for trial in queue.trials[:NUM_TRIALS]}) == NUM_TRIALS


@each_sampler
def test_values_do_not_depend_on_the_worker(name: str) -> None:
    plan = plan_of(name)
    assert values_of(plan, num_workers=4) == values_of(plan)


@pytest.mark.thorough
@each_sampler
def test_four_interleaved_workers_try_distinct_configurations(here: Path, name: str) -> None:
    plan = plan_of(name, f"search.num_trials={NUM_TRIALS}")
    folder = study_folder(here, plan.name)
    prepare_study(plan, folder, check_study(plan, folder))
    workers = [join(open_study(plan, folder)) for _ in range(4)]
    attempts = []
    for number in range(NUM_TRIALS):
        attempt = workers[number % 4].next_attempt()
        assert attempt is not None
        attempts.append(attempt)
    assert [attempt.number for attempt in attempts] == list(range(NUM_TRIALS))
    assert len({tuple(attempt.values.values()) for attempt in attempts}) == NUM_TRIALS
    assert all(worker.next_attempt() is None for worker in workers)


@each_sampler
def test_what_is_drawn_independently_is_drawn_alike_before_and_after_results(name: str) -> None:
    plan = plan_of(name)
    num = min(NUM_TRIALS, plan.search.sampler.num_independent)
    assert num >= 1
    tried = [values_asked_at_once(plan, num), *(values_scored(plan, sign, num) for sign in (1, -1))]
    assert tried[0] == tried[1] == tried[2]


@pytest.mark.parametrize("name", ["gp", "tpe"])
def test_the_draw_after_the_independent_ones_depends_on_results(name: str) -> None:
    plan = plan_of(name)
    num = int(plan.search.sampler.num_independent) + 1
    assert values_scored(plan, 1, num)[-1] != values_scored(plan, -1, num)[-1]


def values_scored(plan: Plan, sign: int, num: int) -> list[dict[str, Any]]:
    """Return the values of trials, each asked for when those before it have these scores."""
    study = queue_of(plan)
    tried = []
    for _ in range(num):
        trial = study.ask()
        tried.append(plan.space.suggest(trial))
        study.tell(trial, sign * tried[-1]["optimizer.lr"])
    return tried


def values_asked_at_once(plan: Plan, num: int) -> list[dict[str, Any]]:
    study = queue_of(plan)
    return [plan.space.suggest(study.ask()) for _ in range(num)]


def queue_of(plan: Plan) -> optuna.Study:
    """Return a study with the default in its queue."""
    defaults = plan.defaults_of_arms
    sampler = seeded_sampler(plan.search.sampler, plan.space, plan.sampler_seed, defaults=defaults)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for values in plan.first[: None if plan.search.sampler.is_finite else 1]:
        study.add_trial(waiting_trial(plan.space, values))
    return study


ARMS = "strategy=choice(lora,full)"
NO_NUMBERS = ("search/space=none", "data.batch_size=choice(8,16)", "strategy.rank=choice(4,8)")
SINGLE = ("search/space=none", "data.batch_size=range(16,17)", "strategy.rank=range(4,9)")
FEW = "must support a space with fewer than 2 numeric ranges"
TWO = "search.objectives=[validation/accuracy,seconds]"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "words", "rule", "able"),
    [
        (
            "gp",
            (ARMS,),
            "must support conditional parameters: optimizer.lr[full]",
            "bayes, random, tpe",
        ),
        ("cmaes", (ARMS,), "must support conditional parameters", "bayes, random, tpe"),
        ("qmc", (ARMS,), "must support conditional parameters", "bayes, random, tpe"),
        (
            "grid",
            (),
            "must support intervals such as that of optimizer.lr",
            "bayes, cmaes, gp, qmc, random",
        ),
        (
            "grid",
            (ARMS,),
            "must support intervals such as that of optimizer.lr",
            "bayes, random, tpe",
        ),
        ("cmaes", SINGLE, FEW, "bayes, gp, grid, qmc, random, tpe"),
        ("cmaes", NO_NUMBERS, FEW, "bayes, gp, grid, random, tpe"),
        (
            "qmc",
            NO_NUMBERS,
            "must support a space without numeric ranges",
            "bayes, gp, grid, random, tpe",
        ),
        ("cmaes", (TWO,), "must support 2 objectives", "bayes, gp, qmc, random, tpe"),
    ],
)
def test_an_unsuitable_sampler_is_refused_with_suitable_ones_named(
    name: str, words: tuple[str, ...], rule: str, able: str
) -> None:
    with pytest.raises(ConfigError) as error:
        build_plan(compose("sweep", ["model=tiny", f"search/sampler={name}", *words]))
    (problem,) = error.value.problems
    assert str(problem).startswith(f"search/sampler: {rule}")
    assert f"got '{name}'. Samplers that can: {able}" in str(problem)


@pytest.mark.parametrize("name", ["bayes", "tpe", "random"])
def test_conditional_parameters_are_searched(name: str) -> None:
    plan = plan_of(name, "strategy=choice(feature_extraction,lora,full)")
    tried = values_of(plan, num_trials=16)  # the defaults of two arms are not among the first
    assert all(plan.space.holds(values) for values in tried)
    assert len({values["strategy"] for values in tried}) == 3


@pytest.mark.parametrize("name", ["bayes", "gp", "cmaes", "qmc", "tpe"])
def test_a_default_outside_the_space_does_not_stop_the_sampler_from_learning(name: str) -> None:
    plan = plan_of(name, "optimizer.lr=tag(log,interval(1e-2,1e-1))")
    assert not plan.space.holds(plan.default_values)
    tried = draws(plan)
    assert all(plan.space.holds(values) for values in tried)
    rates = [values["optimizer.lr"] for values in tried]
    if name in ("gp", "tpe", "cmaes"):  # they learn that a higher rate scores more
        assert sum(rates[-8:]) > sum(rates[:8])
    if name == "bayes":  # it learns so from the second trial on
        random_mean = (1e-1 - 1e-2) / math.log(10)  # standard error of 24 draws: 0.005
        assert sum(rates) / len(rates) > 1.5 * random_mean


def draws(plan: Plan, num_trials: int = 24) -> list[dict[str, Any]]:
    """Return the values tried after a default outside the space."""
    sampler = seeded_sampler(
        plan.search.sampler, plan.space, plan.sampler_seed, defaults=plan.defaults_of_arms
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trial(waiting_trial(plan.space, plan.default_values))
    study.tell(study.ask(), 0.0)
    tried = []
    for _ in range(num_trials):
        trial = study.ask()
        tried.append(plan.space.suggest(trial))
        study.tell(trial, tried[-1]["optimizer.lr"])
    return tried
