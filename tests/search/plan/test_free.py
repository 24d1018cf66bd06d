"""The plan of a free study: its space, its objective, and no defaults."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.distributions import FloatDistribution, IntDistribution

from lightning_modules.error import UserError
from search.config import compose, compose_free
from search.plan.build import build_plan
from search.plan.free import COLUMNS
from search.plan.plan import Plan
from search.report.results import rows
from search.storage.location import study_folder
from search.study.prepare import prepare_study
from search.study.suggest import first_suggestions

WORDS = ["study=s", "search.ask_tell=true", "search.metric=score", "search.direction=minimize"]


def plan_of(*words: str) -> Plan:
    return build_plan(compose_free([*WORDS, *words]))


def test_it_has_a_space_an_objective_and_no_run() -> None:
    plan = plan_of("lr=tag(log,interval(1e-5,1e-1))", "depth=range(1,9)", "seed=4")
    assert plan.is_free and plan.is_asked and not plan.defaults
    assert plan.space.parameters["lr"].distribution == FloatDistribution(1e-5, 0.1, log=True)
    assert plan.space.parameters["depth"].distribution == IntDistribution(1, 8)
    (objective,) = plan.objectives
    assert (objective.name, objective.short, objective.sign) == ("score", "score", -1)
    assert (plan.seed, plan.first, plan.default_values) == (4, (), {})


def test_enqueued_values_come_first_and_must_lie_in_the_space() -> None:
    words = ("x=range(1,9)", "y=range(1,9)", "search.enqueue=[{x: 3}]", "search.num_trials=5")
    plan = plan_of(*words, "search/sampler=random")
    suggestions = first_suggestions(plan)
    assert len(suggestions) == 5 and suggestions[0]["x"] == 3
    with pytest.raises(UserError, match=r"search.enqueue.0.x: must be in range\(1,9\), got 9"):
        plan_of("x=range(1,9)", "search.enqueue=[{x: 9}]")


def test_a_finite_space_limits_the_budget() -> None:
    assert plan_of("x=choice(a,b)", "search.num_trials=9").num_trials == 2
    assert plan_of("x=choice(a,b)", "y=range(1,4)", "search/sampler=grid").limit == 6


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "search.space: must search a name, got nothing"),
        (("seconds=range(1,3)",), "seconds: must not be the name of a column of trials.csv"),
        (("x=interval(3,1)",), r"x: must have low < high.*interval\(1,3\)"),
        (("x=1,2", "search.metric=null"), "search.metric: must be set if search.direction is"),
        (("x=1,2", "search.ask_tell=false"), "search.direction: needs search.ask_tell=true"),
        (("x=1,2", "search.direction=up"), "search.direction: must be maximize or minimize"),
        (("x=1,2", "search.objectives=[a,b]"), "search.objectives: must be null if search.ask"),
        (("x=1,2", "search.ask_hours=0"), "search.ask_hours: must be > 0"),
        (("x=1,2", "seed=-1"), "seed: must be a whole number >= 0"),
    ],
)
def test_a_slip_is_named(words: tuple[str, ...], line: str) -> None:
    with pytest.raises(UserError, match=line):
        plan_of(*words)


def test_a_study_of_a_run_has_the_directions_of_its_task() -> None:
    tree = compose("sweep", ["study=s"])
    tree.tree["search"]["direction"] = "maximize"
    with pytest.raises(UserError, match="must be on the command line"):
        build_plan(tree)


def test_no_searched_name_hides_another_column(here: Path) -> None:
    study = prepare_study(plan_of("x=range(1,9)", "search.enqueue=[{x: 3}]"), folder(here), None)
    (row,) = rows(study)
    assert {name for name in row if not name.startswith("validation/")} == {*COLUMNS, "x"}


def folder(here: Path) -> Path:
    return study_folder(here, "s")
