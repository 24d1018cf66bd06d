from __future__ import annotations

from pathlib import Path

from search.sampler.base import inside
from search.study.knowledge import view_of
from search.study.pick import drop_trial, queue_pick
from search.study.session import join
from search.study.study import Study
from tests.search.study.conftest import finish, plan_of, study_of


def seen(study: Study, *words: str) -> list[dict[str, object]]:
    """Return the parameters that a sampler of the plan with these words sees."""
    space = plan_of(*words).space
    view = inside(study.optuna, view_of(study.optuna, space))
    ranges = {name: parameter.distribution for name, parameter in space.parameters.items()}
    trials = view.get_trials(deepcopy=False)
    assert all(ranges[name] == d for trial in trials for name, d in trial.distributions.items())
    return [trial.params for trial in trials]


def ended(here: Path, *words: str) -> Study:
    study = study_of(here, *words, "search.num_trials=4")
    session = join(study)
    for accuracy in (0.6, 0.8, 0.7, 0.5):
        finish(session, accuracy)
    return study


def test_a_dropped_trial_is_not_seen(here: Path) -> None:
    study = ended(here)
    before = seen(study)
    drop_trial(study, 2)
    assert seen(study) == [before[0], before[1], before[3]]


def test_numbers_outside_a_narrowed_range_are_seen(here: Path) -> None:
    study = ended(here)
    all_of_it = seen(study)
    assert seen(study, "optimizer.lr=tag(log,interval(9e-4,1.1e-3))") == all_of_it


def test_a_choice_that_is_gone_is_not_seen(here: Path) -> None:
    words = ("data.batch_size=choice(8,16,32)", "trainer.epochs=range(1,9)")
    study = ended(here, *words, "search.enqueue=[{data.batch_size: 8}]")
    sizes = [params["data.batch_size"] for params in seen(study, *words)]
    assert len({*sizes}) > 1
    kept = seen(study, "data.batch_size=choice(16,64)", "trainer.epochs=range(1,3)")
    assert [params["data.batch_size"] for params in kept] == [s for s in sizes if s == 16]


def test_a_default_outside_its_range_is_seen(here: Path) -> None:
    study = ended(here, "strategy.lr=0.5")
    default, first, *_ = seen(study)
    assert study.trial(0).params == {} and default == {"optimizer.lr": 0.5}
    assert 1e-4 <= float(str(first["optimizer.lr"])) <= 1e-2


def test_a_pick_outside_the_ranges_is_seen(here: Path) -> None:
    words = ("trainer.epochs=range(1,4)", "search.num_trials=2")
    study = study_of(here, *words)
    pick = queue_pick(study, {"optimizer.lr": 0.5, "trainer.epochs": 7})
    session = join(study)
    finish(session, 0.6), finish(session, 0.8)
    assert seen(study, *words)[pick.number] == {"optimizer.lr": 0.5, "trainer.epochs": 7}


def test_a_default_that_is_no_choice_is_not_seen(here: Path) -> None:
    words = ("data.batch_size=choice(8,32)", "data=reviews")
    study = ended(here, *words)
    assert len(seen(study, *words)) == len(study.trials) - 1
