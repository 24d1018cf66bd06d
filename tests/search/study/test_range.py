from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from lightning_modules.error import ConfigError
from search.storage.attribute import RANGES
from search.study.ask import ask
from search.study.prepare import check_study
from search.study.session import join
from search.study.tell import result_of, tell
from tests.search.study.conftest import finish, plan_of, study_of
from tests.search.study.test_ask import asked_study

OLD = ("data.batch_size=choice(8,16)", "trainer.epochs=range(1,4)", "search.portfolio=false")
NEW = ("data.batch_size=choice(16,32)", "trainer.epochs=interval(2,6)", "search.portfolio=false")
LR = "optimizer.lr=tag(log,interval(2e-3,5e-3))"


def test_the_ranges_of_a_study_change(here: Path) -> None:
    study = study_of(here, *OLD, "search.num_trials=6")
    session = join(study)
    for accuracy in (0.6, 0.9, 0.7):
        finish(session, accuracy)
    before = [trial.params for trial in study.trials]
    check_study(plan_of(*NEW, LR, "search.num_trials=20"), study.folder)
    changed = study_of(here, *NEW, LR, "search.num_trials=20")
    assert [trial.params for trial in changed.trials] == before
    session = join(changed)
    for _ in range(17):
        values = finish(session, 0.8).values
        assert values["data.batch_size"] in (16, 32)
        assert 2 <= values["trainer.epochs"] <= 6 and 2e-3 <= values["optimizer.lr"] <= 5e-3
    assert {trial.params["data.batch_size"] for trial in changed.trials[3:]} == {16, 32}
    assert changed.best is not None and changed.best.number == 1
    records = changed.optuna._storage.get_study_system_attrs(changed.id)[RANGES]
    assert [(each["name"], each["old"], each["new"]) for each in records] == [
        ("optimizer.lr", "tag(log,interval(1e-4,1e-2))", "tag(log,interval(2e-3,5e-3))"),
        ("data.batch_size", "choice(8,16)", "choice(16,32)"),
        ("trainer.epochs", "range(1,4)", "interval(2,6)"),
    ]
    stock = optuna.load_study(study_name="s", storage=f"sqlite:///{study.folder}/study.db")
    assert [trial.params for trial in stock.trials[:3]] == before


def test_a_queued_configuration_outside_the_new_ranges_still_runs(here: Path) -> None:
    default = study_of(here, *OLD).plan.default_values
    changed = study_of(here, *OLD, LR)
    assert [trial.number for trial in changed.trials] == [0]
    assert finish(join(changed), 0.5).values == default


def test_a_key_is_neither_added_nor_removed(here: Path) -> None:
    study = study_of(here, *OLD)
    plan = plan_of(OLD[0], OLD[2], "trainer.epochs=2", "strategy.rank=choice(4,8)")
    with pytest.raises(ConfigError) as error:
        check_study(plan, study.folder)
    assert [str(problem).partition(",")[0] for problem in error.value.problems] == [
        "strategy.rank: study s does not search this key",
        "trainer.epochs: study s searches range(1",
    ]


@pytest.mark.parametrize(
    ("range_", "is_refused"), [("choice(8,16,32)", False), ("choice(8)", True)]
)
def test_a_finite_space_is_only_widened(here: Path, range_: str, *, is_refused: bool) -> None:
    choices = ("search/space=none", "optimizer.lr=choice(1e-3,1e-4)")
    study = study_of(here, *choices, "data.batch_size=choice(8,16)")
    plan = plan_of(*choices, f"data.batch_size={range_}")
    if not is_refused:
        check_study(plan, study.folder)
        return
    with pytest.raises(
        ConfigError, match=r"data\.batch_size: a space of choices alone can only be"
    ):
        check_study(plan, study.folder)


@pytest.mark.thorough
@pytest.mark.parametrize("sampler", ["bayes", "tpe", "gp", "cmaes", "qmc", "random"])
def test_a_range_becomes_one_on_a_log_scale(here: Path, sampler: str) -> None:
    """A value of 0 or less has no place on it, and neither has a choice that is gone."""
    words = (
        "y=interval(0,1)",
        f"search/sampler={sampler}",
        "search.sampler.num_startup_trials=2" if sampler in ("tpe", "gp", "cmaes") else "seed=0",
        "search.enqueue=[{x: -1}]",
    )
    study = asked_study(here, "x=interval(-5,5)", "k=choice(a,b)", *words, "search.num_trials=5")
    while (attempt := ask(study)) is not None:
        tell(study, attempt.number, result_of("score", attempt.values["y"]))
    ranges = ("x=tag(log,interval(1,50))", "k=choice(b,c)")
    changed = asked_study(here, *ranges, *words[:-1], "search.enqueue=[]", "search.num_trials=9")
    drawn = []
    while (attempt := ask(changed)) is not None:
        drawn.append(attempt.values)
        tell(changed, attempt.number, result_of("score", attempt.values["y"]))
    assert len(drawn) == 4
    assert all(1 <= each["x"] <= 50 and each["k"] in ("b", "c") for each in drawn)
