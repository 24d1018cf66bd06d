from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
import yaml

from lightning_modules.check import check_run
from lightning_modules.error import ConfigError, UserError
from search.config import compose
from search.plan.build import build_plan
from search.plan.plan import Plan
from search.storage.location import study_folder
from search.study.open import load_study, stored
from search.study.prepare import check_study, prepare_study
from search.study.session import join
from search.study.study import Study
from tests.search.study.conftest import finish


@cache
def plan_of(*overrides: str) -> Plan:
    return build_plan(compose("sweep", ["model=tiny", "logger=none", *overrides]))


def prepare(root: Path, *overrides: str) -> Study:
    plan = plan_of(*overrides)
    folder = study_folder(root, plan.name)
    return prepare_study(plan, folder, check_study(plan, folder))


def test_a_worker_that_joins_at_once_begins_with_the_default(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    def killed(study: Study) -> None:
        raise Killed

    for num_trials in (2, 3):  # begun, and continued
        words = (f"search.num_trials={num_trials}", "search.portfolio=false")
        more = (*words, "search.enqueue=[{optimizer.lr: 7e-4}]")
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr("search.study.prepare.heal", killed)
            prepare(here, *(words if num_trials == 2 else more))
        session = join(load_study(study_folder(here, plan_of(*words).name)))
        rates = [attempt.values["optimizer.lr"] for attempt in session.next_attempts(1)]
        assert rates == [plan_of().default_values["optimizer.lr"] if num_trials == 2 else 7e-4]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Prepare a study that no test modifies."""
    return prepare(tmp_path_factory.mktemp("prepared"))


def differences(prepared: Study, *overrides: str) -> Sequence[str]:
    with pytest.raises(ConfigError) as error:
        check_study(plan_of(*overrides), prepared.folder)
    return [str(problem) for problem in error.value.problems]


def test_folder_holds_configuration_and_provenance(prepared: Study) -> None:
    config = yaml.safe_load((prepared.folder / "config.yaml").read_text())
    assert config["optimizer"]["lr"] == config["strategy"]["lr"]
    provenance = json.loads((prepared.folder / "provenance.json").read_text())
    assert provenance["seed"] == 0
    assert provenance["data_sha256"] == stored(prepared.folder).fingerprint  # type: ignore[union-attr]


def test_the_default_and_the_portfolio_wait_at_first(prepared: Study) -> None:
    assert [prepared.params_of(trial) for trial in prepared.trials] == list(prepared.plan.first)
    assert [trial.state.name for trial in prepared.trials] == ["WAITING"] * 3


def test_the_same_plan_resumes(prepared: Study) -> None:
    check_study(plan_of(), prepared.folder)


def test_budget_and_logger_may_change(prepared: Study) -> None:
    search = (
        "num_trials=30",
        "max_hours=1",
        "workers=2",
        "keep=1",
        "enqueue=[{trainer.epochs: 3}]",
    )
    words = (*(f"search.{word}" for word in search), "logger=wandb", "trainer.device=cpu")
    check_study(plan_of(*words), prepared.folder)


def test_all_differences_are_reported_at_once(prepared: Study) -> None:
    problems = differences(
        prepared,
        "seed=1",
        "trainer.max_grad_norm=2",
        "search.metric=mcc",
        "search.pruner.min_finished=3",
        "strategy.rank=choice(4,8)",
        "data.batch_size=16",
    )
    fix = "Choose another study=NAME, or restore the old value."
    other = "Choose another study=NAME with search.warm_start=default, or restore the old range."
    assert sorted(problems) == [
        f"data.batch_size: study default searches choice(8, 16, 32), got no range. {other}",
        f"search.pruner.min_finished: study default has 2, got 3. {fix}",
        f"seed: study default has 0, got 1. {fix}",
        f"strategy.rank: study default does not search this key, got choice(4,8). {other}",
        f"task.metric: study default has 'accuracy', got 'mcc'. {fix}",
        f"trainer.max_grad_norm: study default has 1.0, got 2. {fix}",
    ]


def test_another_strategy_is_reported_with_every_changed_key(prepared: Study) -> None:
    problems = differences(prepared, "strategy=full")
    assert any(line.startswith("strategy._target_: ") for line in problems)
    assert any(line.startswith("strategy.rank: ") for line in problems)


def test_another_data_set_is_reported(prepared: Study, learnable: Path) -> None:
    problems = differences(prepared, "data=files", f"data.train={learnable}")
    assert any(line.startswith("data._target_: ") for line in problems)
    assert any(
        line.startswith("data: study default was started with other rows") for line in problems
    )


def test_a_range_in_another_spelling_is_the_same(prepared: Study) -> None:
    check_study(plan_of("trainer.epochs=range(1,4,1)"), prepared.folder)


def test_changed_rows_in_the_same_file_are_reported(here: Path, learnable: Path) -> None:
    words = ("data=files", f"data.train={learnable}")
    study = prepare(here, *words)
    with learnable.open("a") as file:
        file.write('{"text": "One more was great.", "label": "positive"}\n')
    (line,) = differences(study, *words)
    assert line.startswith("data: study default was started with other rows, got changed files.")


def test_changed_rows_of_a_guard_are_reported(here: Path, learnable: Path) -> None:
    old = here / "old.jsonl"
    old.write_text('{"text": "It was great.", "label": "positive"}\n')
    guard = f"{{data: {old}, metric: accuracy, at_least: 0.5}}"
    words = ("data=files", f"data.train={learnable}", f"search.guards=[{guard}]")
    study = prepare(here, *words)
    check_study(plan_of(*words), study.folder)
    with old.open("a") as file:
        file.write('{"text": "It was awful.", "label": "negative"}\n')
    assert differences(study, *words) == [
        "search.guards.0.data: study default was started with other rows for guard old, got "
        "changed files. Choose another study=NAME, or restore the old value."
    ]


def test_unusable_data_is_reported_before_any_file_is_written(here: Path) -> None:
    plan = plan_of("data=files", "data.train=nowhere.csv")
    with pytest.raises(UserError, match=r"data\.train"):
        check_study(plan, study_folder(here, plan.name))
    assert list(here.iterdir()) == []


def test_preparing_again_raises_the_budget_and_queues_nothing_twice(here: Path) -> None:
    enqueue = "search.enqueue=[{optimizer.lr: 2e-3}]"
    first = prepare(here, enqueue)
    provenance = (first.folder / "provenance.json").read_bytes()
    second = prepare(here, enqueue, "search.num_trials=30")
    assert [trial.number for trial in second.trials] == [0, 1, 2, 3]
    before = stored(second.folder)
    assert before is not None
    composition = before.composition
    assert composition.tree["search"]["num_trials"] == 30
    assert (second.folder / "provenance.json").read_bytes() == provenance


ARMS = "strategy=choice(lora,full)"


@pytest.mark.thorough
def test_a_study_over_arms_resumes_and_reports_changed_arms(here: Path) -> None:
    study = prepare(here, ARMS)
    config = yaml.safe_load((study.folder / "config.yaml").read_text())
    assert config["search"]["space"]["strategy"] == "choice(lora, full)"
    assert "optimizer.lr[full]" in config["search"]["space"]
    assert [study.params_of(trial)["strategy"] for trial in study.trials] == ["lora", "full"]
    check_study(plan_of(ARMS), study.folder)
    (line,) = [
        line
        for line in differences(study, "strategy=choice(lora,full,feature_extraction)")
        if line.startswith("strategy:")
    ]
    assert "study default searches lora, full, got lora, full, feature_extraction." in line
    problems = differences(study, "strategy=choice(lora,full)", "trainer.max_grad_norm=2")
    assert len(problems) == 1


def test_resuming_clears_a_stop_request(here: Path) -> None:
    study = prepare(here)
    session = join(study)
    study.ask_to_stop(True)
    assert study.is_stopping and session.next_attempt() is None
    assert not prepare(here).is_stopping


def test_a_study_from_an_older_version_resumes(here: Path) -> None:
    plan = plan_of("strategy=adalora", "strategy.initial_rank=choice(4,12)")
    folder = study_folder(here, plan.name)
    prepare_study(plan, folder, check_run(plan.default))
    check_study(plan, folder)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("strategy=choice(lora,prompt_tuning)", "data.max_length=512"), "data.max_length: must"),
        (("strategy=choice(lora,prompting)", "trainer.devices=2"), "trainer.devices: must be 1"),
    ],
)
def test_later_arms_are_checked_like_the_first(
    here: Path, words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_study(plan_of(*words), here / "study")


QUEUE = (
    "search/space=none",
    "search.portfolio=false",
    "optimizer.lr=interval(1e-4,1e-2)",
    "trainer.epochs=range(1,4)",
)


@pytest.mark.parametrize("is_older", [False, True])
def test_a_grown_enqueue_queues_the_new_entry_only(here: Path, *, is_older: bool) -> None:
    enqueue = "search.enqueue=[{trainer.epochs: 3}]"
    study = prepare(here, *QUEUE, enqueue, "search.num_trials=3")
    session = join(study)
    for _ in range(3):
        finish(session, 0.5)
    assert [study.params_of(trial)["trainer.epochs"] for trial in study.trials][1] == 3
    if is_older:
        with study.tables.engine.begin() as connection:
            delete = "DELETE FROM trial_system_attributes WHERE key = 'finesweep.start'"
            connection.exec_driver_sql(delete)
    enqueue = "search.enqueue=[{trainer.epochs: 3}, {trainer.epochs: 2}]"
    grown = prepare(here, *QUEUE, enqueue, "search.num_trials=5")
    assert [trial.number for trial in grown.trials] == [0, 1, 2, 3]
    assert grown.trials[3].system_attrs["fixed_params"] == {"trainer.epochs": 2}


def test_guards_neither_begin_nor_end_in_a_study_that_exists(prepared: Study, here: Path) -> None:
    entry = "{data: reviews, metric: accuracy, at_least: 0.5}"
    (problem,) = differences(prepared, f"search.guards=[{entry}]")
    assert problem.startswith("search.guards: study default has [], got [{'data': 'reviews'")
    study = prepare(here, f"search.guards=[{entry}]")
    (problem,) = differences(study)
    assert problem.startswith("search.guards: study default has [{'data': 'reviews'")


def test_a_guard_that_no_run_can_be_scored_by_is_refused(here: Path) -> None:
    plan = plan_of("search.guards=[forgetting]")
    with pytest.raises(ConfigError, match=r"search\.guards\.0\.data: forgetting needs a decoder"):
        check_study(plan, study_folder(here, plan.name))
    assert not (here / "studies").exists()
