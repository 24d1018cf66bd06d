from __future__ import annotations

from pathlib import Path

from search.sampler.base import inside
from search.study.knowledge import view_of
from search.study.pick import drop_trial
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
