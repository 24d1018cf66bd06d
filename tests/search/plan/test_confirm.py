"""The plan that trains the first few again: what varies, what stays, what it costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.error import ConfigError
from search.config import Composition, Follows
from search.plan.build import build_plan
from search.plan.confirm import confirms, fresh_of, max_runs, refusal
from search.plan.follow import follow_up_plan
from search.space.space import Values
from tests.search.study.conftest import plan_of

FILES = ("data=files", "data.train=my.csv", "search.confirm=3")


@pytest.mark.parametrize(
    ("words", "path", "values"),
    [
        (FILES, "data.validation_seed", [1, 2, 3]),
        ((*FILES, "data.split_seed=4"), "data.validation_seed", [5, 6, 7]),
        ((*FILES, "data.validation_seed=9"), "data.validation_seed", [10, 11, 12]),
        ((*FILES, "data.validation=dev.csv", "seed=2"), "seed", [3, 4, 5]),
        (("search.confirm=2",), "seed", [1, 2]),  # the reviews have validation rows of their own
    ],
)
def test_splits_are_fresh_unless_the_validation_rows_are_given(
    words: tuple[str, ...], path: str, values: list[int]
) -> None:
    fresh = fresh_of(plan_of(*words))
    assert (fresh.path, list(fresh.values)) == (path, values)
    assert fresh.what == ("seed" if path == "seed" else "split")


def test_every_configuration_is_on_every_split_and_a_split_is_completed_first() -> None:
    configurations: list[Values] = [{"optimizer.lr": 1e-3}, {"optimizer.lr": 2e-3}]
    entries = fresh_of(plan_of("search.confirm=2")).entries(configurations)
    assert [(each["seed"], each["optimizer.lr"]) for each in entries] == [
        (1, 1e-3),
        (1, 2e-3),
        (2, 1e-3),
        (2, 2e-3),
    ]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), None),
        (("search.objectives=[accuracy,seconds]",), "several goals"),
        (("seed=choice(0,1)",), "the seed is searched"),
        (("search.ask_tell=true",), "a loop of yours"),
    ],
)
def test_what_cannot_be_confirmed_says_why(words: tuple[str, ...], reason: str | None) -> None:
    plan = plan_of("search.confirm=3", *words)
    assert confirms(plan) is (reason is None)
    assert reason is None or reason in str(refusal(plan))


def test_it_is_off_by_default_and_one_split_is_refused() -> None:
    assert not confirms(plan_of())
    with pytest.raises(ConfigError, match=r"search.confirm: must be 0 or >= 2, got 1\."):
        plan_of("search.confirm=1")


def test_the_cost_is_known_before() -> None:
    assert max_runs(plan_of("search.confirm=3")) == 12
    assert max_runs(plan_of("search.confirm=3", "search.num_trials=2")) == 6
    assert max_runs(plan_of("search.confirm=3", "search.num_trials=1")) == 0


def test_the_plan_differs_in_its_queue_alone(here: Path) -> None:
    words = ("optimizer.lr=choice(1e-3,2e-3)", "search.max_hours=2", "search/sampler=grid")
    plan = plan_of(*FILES, *words)
    follows = Follows("confirm", "s")
    again = follow_up_plan(plan, follows, "s.confirm", fresh_of(plan), 40, max_hours=0.5)
    assert (again.name, again.num_trials, again.composition.follows) == ("s.confirm", 40, follows)
    assert again.space.paths == ("optimizer.lr", "data.validation_seed")
    assert (again.search.settings.max_hours, again.search.settings.confirm) == (0.5, 0)
    assert type(again.search.pruner).__name__ == "NoPruner"
    assert again.default == plan.default
    run = again.run({"optimizer.lr": 2e-3, "data.validation_seed": 3})
    assert (run.optimizer, run.data.split_seed) == (plan.run({"optimizer.lr": 2e-3}).optimizer, 0)
    stored = Composition.from_dict(again.composition.as_dict())
    assert build_plan(stored).num_trials == 40 and stored.follows == follows
    values = again.composition.as_dict()
    del values["follows"]
    assert Composition.from_dict({**values, "confirms": "s"}).follows == follows
