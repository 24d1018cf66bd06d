"""What the search keeps of `search.max_hours` for confirming its first few trials."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from lightning_modules.outcome import Outcome
from search.storage.tables import WORKERS
from search.study import confirm
from search.study.open import load_study
from search.study.reserve import num_fitting, reserved, reserved_before, run_seconds
from search.study.session import join
from search.study.study import Study
from search.terminal.confirm import confirm_lines, started_lines
from search.terminal.summary import _longer, _remaining
from tests.search.study.conftest import outcome, plan_of, study_of, train, train_rest

CONFIRM = ("search.confirm=2", "search.portfolio=false", "search/sampler=random")


def hours(seconds: float) -> str:
    return f"search.max_hours={seconds / 3600}"


def trained(here: Path, seconds: list[float], *words: str, num_trials: int = 12) -> Study:
    """Return a study whose first trials took so long, each better than those before it."""
    study = study_of(here, *CONFIRM, f"search.num_trials={num_trials}", *words)
    add(study, [outcome(0.5 + 0.05 * at, each) for at, each in enumerate(seconds)])
    return study


def add(study: Study, outcomes: list[Outcome]) -> None:
    """Train the next trials of a study; their workers were busy for as long as they took."""
    used(study, train(study, outcomes), sum(each.seconds for each in outcomes))


def used(study: Study, worker: str, seconds: float) -> None:
    """Store that a worker that has left had trained for so long."""
    with study.tables.engine.begin() as connection:
        is_it = WORKERS.c.name == worker
        connection.execute(update(WORKERS).where(is_it).values(busy_seconds=seconds))


def test_time_is_kept_for_as_many_as_half_of_the_hours_allow() -> None:
    assert num_fitting([], 100) == num_fitting([10], 100) == 0  # nothing to compare with
    assert num_fitting([10, 10, 10, 10], 40) == 4
    assert num_fitting([10, 10, 10, 10], 39) == 3
    assert num_fitting([10, 40, 0], 45) == 0
    assert reserved([10, 10, 10, 10], 100) == pytest.approx(44)
    assert reserved([10, 10, 10, 10], 70) == pytest.approx(33)
    assert reserved([10, 10, 10, 10], 40) == 0


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ((*CONFIRM, hours(1000)), 4 * 2 * 10 * 1.1),
        ((*CONFIRM, hours(1000), "search.num_trials=2"), 2 * 2 * 10 * 1.1),
        ((*CONFIRM, hours(100)), 2 * 2 * 10 * 1.1),
        ((*CONFIRM, hours(80)), 0),
        (CONFIRM, 0),
    ],
)
def test_the_plan_knows_what_will_be_kept(words: tuple[str, ...], seconds: float) -> None:
    assert reserved_before(plan_of(*words), trial_seconds=10) == (pytest.approx(seconds), 0)


def test_the_first_few_and_the_free_places_have_their_time(here: Path) -> None:
    study = trained(here, [5.0], hours(1000))
    assert study.reserved_seconds == pytest.approx(1.1 * 4 * 2 * 5)  # only the default has ended
    add(study, [outcome(0.6, 10.0), outcome(0.7, 20.0)])
    mean = 35 / 3
    assert study.reserved_seconds == pytest.approx(1.1 * 2 * (5 + 10 + 20 + mean))
    add(study, [outcome(0.8, 30.0)])
    assert study.reserved_seconds == pytest.approx(1.1 * 2 * (5 + 10 + 20 + 30))
    add(study, [outcome(0.55, 100.0)])  # none of the first few
    assert study.reserved_seconds == pytest.approx(1.1 * 2 * (5 + 10 + 20 + 30))


def test_nothing_is_kept_if_nothing_is_confirmed(here: Path) -> None:
    assert trained(here, [5.0, 5.0]).reserved_seconds == 0  # no limit
    study = trained(here, [5.0], "study=t", "search.confirm=0", hours(10))
    assert study.reserved_seconds == 0 and study.out_of_time is None


def test_the_search_stops_in_time_for_confirming(here: Path) -> None:
    study = trained(here, [10.0, 10.0, 10.0, 10.0], hours(300))
    assert study.reserved_seconds == pytest.approx(88) and study.out_of_time is None
    assert confirm.begin(study) is None
    add(study, [outcome(0.3, 179.0)])  # 81 s are left
    limit = f"search.max_hours={300 / 3600:g}"
    assert study.out_of_time == f"{limit} is used up but for confirming the first few"
    assert study.is_over and not study.hours_used_up
    assert join(load_study(study.folder)).next_attempt() is None
    confirming = confirm.begin(study)
    assert confirming is not None and confirming.plan.num_trials == 8
    assert confirming.plan.search.settings.max_hours == pytest.approx(81 / 3600)
    assert list(started_lines(study, confirming)) == [
        f"{study.out_of_time}, about 80 s of training; 7 trials left",
        "confirming trial 3, trial 2, trial 1 and trial 0 (default) on 2 fresh seeds: 8 runs, as "
        "study s.confirm",
    ]
    assert _remaining(study) == ["", f"{study.out_of_time}, 7 trials left."]
    words = ["study=s", "data=files", "search.max_hours=0.1", "search.num_trials=12"]
    assert _longer(study, words) == [  # more trials would have no time
        f"  finesweep sweep study=s data=files search.num_trials=12 search.max_hours={600 / 3600:g}"
    ]


def end_all(confirming: Study, accuracy: float, seconds: float) -> None:
    worker = train_rest(confirming, lambda values: outcome(accuracy, seconds))
    used(confirming, worker, confirming.plan.num_trials * seconds)


def test_the_time_of_confirming_counts_and_the_rest_is_for_trials(here: Path) -> None:
    study = trained(here, [10.0, 10.0], hours(200), num_trials=2)
    confirming = confirm.begin(study)
    assert confirming is not None
    end_all(confirming, 0.7, seconds=10.0)
    assert confirm.store_results(study, confirming)
    assert study.seconds_left == (pytest.approx(200 - 20 - 40), 0)
    grown = study_of(here, *CONFIRM, hours(200), "search.num_trials=3")
    # Two are confirmed; a place for a third one is free.
    assert grown.reserved_seconds == pytest.approx(1.1 * 2 * 10)
    add(grown, [outcome(0.9, 10.0)])
    again = confirm.begin(grown)
    assert again is not None and again.plan.num_trials == 6
    limit = again.plan.search.settings.max_hours
    assert limit == pytest.approx((200 - 30 - 40 + 40) / 3600)  # the runs before count there


def test_without_time_for_all_the_best_and_the_default_come_first(here: Path) -> None:
    study = trained(here, [10.0, 10.0, 10.0, 10.0], hours(100), num_trials=4)  # 60 s are left
    confirming = confirm.begin(study)
    assert confirming is not None and confirming.plan.num_trials == 6
    assert next(iter(started_lines(study, confirming))) == (
        "search.max_hours leaves no time to confirm trial 1"
    )
    lrs = {confirming.params_of(trial)["optimizer.lr"] for trial in confirming.trials}
    assert lrs == {study.params_of(study.trials[at])["optimizer.lr"] for at in (0, 2, 3)}


def test_without_time_for_two_nothing_is_trained(here: Path) -> None:
    study = trained(here, [10.0, 10.0, 10.0], hours(60), num_trials=3)  # 30 s are left, 40 needed
    assert study.reserved_seconds == 0
    assert confirm.begin(study) is None and not (study.folder / "s.confirm").exists()
    assert confirm_lines(study) == [
        "The first few are not confirmed: that takes about 60 s of training, and search.max_hours "
        "leaves 30 s."
    ]


def test_a_run_that_loads_long_takes_that_time_too(here: Path) -> None:
    study = trained(here, [5.0])
    (trial,) = study.trials
    assert run_seconds(trial) == 5.0
    slow = trial.datetime_complete
    assert slow is not None and trial.datetime_start is not None
    trial.datetime_start = slow.replace(year=slow.year - 1)
    assert run_seconds(trial) > 1e6
    trial.user_attrs["attempt"] = 2  # it waited meanwhile
    assert run_seconds(trial) == 5.0
