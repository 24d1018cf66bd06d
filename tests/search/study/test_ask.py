"""A loop of the caller's own asks for trials: which it gets, for how long, and what is refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faults.postgres import Postgres

from lightning_modules.error import UserError
from search.config import compose, compose_free
from search.plan.build import build_plan
from search.storage.location import VARIABLE, study_folder
from search.study.ask import ask, check_trained
from search.study.heal import heal
from search.study.open import load_study
from search.study.pick import queue_pick
from search.study.prepare import check_asked_study, prepare_study
from search.study.session import join
from search.study.study import Study
from search.study.tell import result_of, tell
from tests.conftest import wait_until
from tests.search.study.conftest import study_of

FREE = ["study=s", "search.ask_tell=true", "search.metric=score", "search.direction=maximize"]
SPACE = ["x=interval(0,1)", "y=choice(a,b,c)", "search/sampler=random"]
SHORT = "search.ask_hours=1e-5"  # 36 ms


def asked_study(root: Path, *words: str) -> Study:
    """Return a free study whose trials a loop asks for."""
    plan = build_plan(compose_free([*FREE, *SPACE, *words]))
    folder = study_folder(root, plan.name)
    check_asked_study(plan, folder)
    return prepare_study(plan, folder, None)


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        monkeypatch.setenv(VARIABLE, postgres.new_database())
    return str(request.param)


def test_the_budget_is_exact_and_a_trial_brings_its_values_and_a_folder(
    here: Path, storage: str
) -> None:
    study = asked_study(here, "search.num_trials=3")
    attempts = [ask(study) for _ in range(3)]
    assert [attempt.number for attempt in attempts if attempt] == [0, 1, 2]
    assert ask(study) is None
    first = attempts[0]
    assert first is not None and first.values.keys() == {"x", "y"}
    assert first.folder == study.folder / "trials/0000/attempt-1"
    assert "x: " in (first.folder / "config.yaml").read_text(encoding="utf-8")
    assert [trial.state.name for trial in study.trials] == ["RUNNING"] * 3
    assert not heal(study)  # no process renews these leases, and none needs to


def test_a_trial_whose_lease_is_over_is_asked_for_again_and_the_late_loop_is_refused(
    here: Path, storage: str
) -> None:
    study = asked_study(here, "search.num_trials=1", SHORT)
    first = ask(study)
    assert first is not None
    (first.folder / "checkpoint.txt").write_text("half way")
    time.sleep(0.1)
    second = ask(study)
    assert second is not None
    assert (second.number, second.attempt, second.values) == (0, 2, first.values)
    assert (second.folder / "checkpoint.txt").read_text() == "half way"
    assert "not told or reported for" in second.notes[0]
    with pytest.raises(UserError, match=r"^trial: attempt 1 must have its lease, got 0: not told"):
        tell(study, 0, result_of("score", 0.5))
    assert tell(study, 0, result_of("score", 0.7), attempt=2).ending.value == "finished"
    assert study.trial(0).values == [0.7]


def test_a_late_loop_is_accepted_as_long_as_nobody_else_has_the_trial(here: Path) -> None:
    study = asked_study(here, "search.num_trials=1", SHORT)
    assert ask(study) is not None
    time.sleep(0.1)
    tell(study, 0, result_of("score", 0.5))
    assert study.trial(0).values == [0.5]


def test_a_trial_that_waits_again_is_nobodys(here: Path) -> None:
    study = asked_study(here, "search.num_trials=1", SHORT)
    ask(study)
    time.sleep(0.1)
    (end,) = heal(study)
    assert "not told" in end.reason
    with pytest.raises(UserError, match=r"attempt 1 must have its lease.*Ask for a trial again\."):
        tell(study, 0, result_of("score", 0.5))


@pytest.mark.thorough
def test_several_processes_get_distinct_trials_and_an_exact_budget(
    here: Path, storage: str
) -> None:
    study = asked_study(here, "search.num_trials=9")
    code = (
        "import json, sys\nfrom pathlib import Path\n"
        "from search.study.ask import ask\nfrom search.study.open import load_study\n"
        "study = load_study(Path(sys.argv[1]))\nprint('ready', flush=True)\ninput()\n"
        "attempts = iter(lambda: ask(study), None)\n"
        "print(json.dumps([[each.number, each.values['x']] for each in attempts]))\n"
    )
    words = [sys.executable, "-c", code, str(study.folder)]
    loops = [
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for loop in loops:
        assert loop.stdout is not None and loop.stdout.readline() == "ready\n"
    got = [pair for loop in loops for pair in json.loads(loop.communicate("\n")[0])]
    assert sorted(number for number, _ in got) == list(range(9))
    assert len({x for _, x in got}) == 9
    assert len(study.optuna.get_trials()) == 9


def test_the_trial_of_a_killed_loop_comes_back_after_its_lease(here: Path) -> None:
    study = asked_study(here, "search.num_trials=1", "search.ask_hours=5e-4")  # 1.8 s
    code = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from search.study.ask import ask\nfrom search.study.open import load_study\n"
        "ask(load_study(Path(sys.argv[1])))\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    words = [sys.executable, "-c", code, str(study.folder)]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    assert study.trial(0).state.name == "RUNNING"
    again = wait_until(lambda: ask(study), "the trial of the killed loop")
    assert again is not None and (again.number, again.attempt) == (0, 2)


def test_an_interrupted_ask_leaves_no_trial_behind(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = asked_study(here, "search.num_trials=1")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("search.study.session.Session.entrust", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ask(study)
    again = ask(study)
    assert again is not None and again.number == 0


def test_the_draws_are_those_of_the_sampler_in_any_process(here: Path) -> None:
    values = []
    for folder in ("one", "other"):
        (here / folder).mkdir()
        study = asked_study(here / folder, "search/sampler=tpe", "search.num_trials=3")
        for score in (0.1, 0.9):
            attempt = ask(load_study(study.folder))
            assert attempt is not None
            values.append((folder, attempt.values))
            tell(study, attempt.number, result_of("score", score))
    assert [each for name, each in values if name == "one"] == [
        each for name, each in values if name == "other"
    ]


def test_a_stopped_study_gives_no_trial(here: Path) -> None:
    study = asked_study(here)
    study.ask_to_stop(True)
    assert ask(study) is None


def test_hours_count_from_ask_to_tell(here: Path) -> None:
    study = asked_study(here, "search.max_hours=1")
    attempt = ask(study)
    assert attempt is not None and not study.hours_used_up
    tell(study, 0, result_of("score", 0.5, seconds=3600))
    assert study.hours_used_up and ask(study) is None


def test_names_of_a_run_can_be_asked_for_too(here: Path) -> None:
    words = ["study=s", "model=tiny", "search.ask_tell=true", "optimizer.lr=interval(1e-4,1e-2)"]
    plan = build_plan(compose("sweep", [*words, "data=files", "data.train=missing.csv"]))
    check_asked_study(plan, study_folder(here, "s"))  # the loop has the data
    attempt = ask(prepare_study(plan, study_folder(here, "s"), None))
    assert attempt is not None and dict(attempt.values) == dict(plan.default_values)
    config = (attempt.folder / "config.yaml").read_text(encoding="utf-8")
    assert "train: missing.csv" in config
    study = load_study(study_folder(here, "s"))
    tell(study, 0, result_of("accuracy", 0.5, metrics={"log_loss": 0.1}))
    assert ask(study) is not None
    tell(study, 1, result_of("accuracy", 0.9, metrics={"log_loss": 0.2}))
    assert study.best is not None and study.best.number == 1  # by what was told as the value


def test_a_trained_study_is_not_asked_and_an_asked_one_not_trained(here: Path) -> None:
    trained = study_of(here)
    with pytest.raises(UserError, match="study: must have been started with search"):
        ask(trained)
    with pytest.raises(UserError, match="study s has false, got true"):
        check_asked_study(build_plan(compose_free([*FREE, *SPACE])), trained.folder)
    asked = asked_study(here / "other")
    with pytest.raises(UserError, match="study: must be trained by finesweep, got s, which"):
        check_trained(asked)


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("z=interval(0,1)", "z: study s does not search this key"),
        ("search.metric=other", "search.metric: study s has 'score', got 'other'"),
        ("search.direction=minimize", "search.direction: study s has 'maximize', got 'minimize'"),
    ],
)
def test_a_change_that_mixes_two_experiments_is_refused(here: Path, word: str, line: str) -> None:
    asked_study(here)
    with pytest.raises(UserError, match=line):
        asked_study(here, word)
    assert asked_study(here, "search.num_trials=40", "search.ask_hours=2").plan.num_trials == 40


def test_a_worker_of_the_same_study_leaves_asked_trials_alone(here: Path) -> None:
    study = asked_study(here, "search.num_trials=1")
    ask(study)
    session = join(load_study(study.folder))
    assert session.next_attempt() is None
    session.leave()


@pytest.mark.parametrize("queue", ["enqueue", "try"])
def test_a_queued_configuration_outside_a_narrowed_range_still_runs(here: Path, queue: str) -> None:
    words = ["search.enqueue=[{x: 0.9, y: c}, {y: c}]"] if queue == "enqueue" else []
    study = asked_study(here, *words)
    if queue == "try":
        queue_pick(study, {"x": 0.9, "y": "c"})
        queue_pick(study, {"y": "c"})
    narrow = ("x=interval(0,0.5)", "y=choice(a,b)", "search.enqueue=[]")
    changed = asked_study(here, *narrow)
    first, second = ask(changed), ask(changed)
    assert first is not None and first.values == {"x": 0.9, "y": "c"}
    assert second is not None and second.values["y"] == "c"
    assert 0 <= second.values["x"] <= 0.5
    assert [note.partition(" and keeps")[0] for note in (*first.notes, *second.notes)] == [
        "trial 0 was queued with x=0.9",
        "trial 0 was queued with y=c",
        "trial 1 was queued with y=c",
    ]
    third = ask(changed)
    assert third is not None and changed.plan.space.holds(third.values) and not third.notes
    best = tell(changed, 0, result_of("score", value=0.5), 1)
    assert best.ending.value == "finished" and changed.params_of(changed.trial(0)) == first.values
