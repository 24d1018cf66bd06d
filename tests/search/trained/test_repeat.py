"""The command that repeats a trial names its settings and no others."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.error import ConfigError
from search.config import build_run, compose
from search.plan.build import build_plan
from search.storage.failure import FailureKind
from search.storage.location import study_folder
from search.study.prepare import check_study, prepare_study
from search.study.session import join
from search.study.study import Study
from search.trained.repeat import find_repeat, repeat_command

ARMS = "strategy=choice(feature_extraction,lora,full)"


def study_of(root: Path, *words: str) -> Study:
    plan = build_plan(compose("sweep", ["model=tiny", "search.max_attempts=1", *words]))
    folder = study_folder(root, plan.name)
    study = prepare_study(plan, folder, check_study(plan, folder))
    session = join(study)
    while (attempt := session.next_attempt()) is not None:
        session.hand_back(attempt, FailureKind.failed, "not trained here", None)
    return study


def commands(study: Study) -> list[list[str]]:
    return [shlex.split(repeat_command(study, trial)) for trial in study.trials]


def runs(study: Study) -> list[Any]:
    return [study.plan.run(study.params_of(trial)) for trial in study.trials]


@pytest.mark.thorough
@pytest.mark.parametrize(
    "words",
    [
        (ARMS, "strategy.rank=choice(4,16)", "seed=3", "optimizer.lr[full]=interval(1e-5,1e-4)"),
        ("experiment=smoke", "search.metric=mcc", "logger.project='a b'"),
        (
            "search.objectives=[log_loss,seconds]",
            "schedule=choice(wsd,linear)",
            "data.max_length=64",
        ),
        ("trainer.precision=choice(fp32,bf16)", "search.pruner.min_finished=9", "logger=none"),
    ],
    ids=["arms", "experiment-metric", "objectives-two-groups", "words-of-search"],
)
def test_the_command_composes_to_the_trials_run(here: Path, words: tuple[str, ...]) -> None:
    study = study_of(here, "study=s", "search.num_trials=7", *words)
    for command, run in zip(commands(study), runs(study), strict=True):
        assert command[:2] == ["finesweep", "train"]
        assert build_run(compose("train", command[2:]).tree) == run
        assert not [word for word in command if word.startswith(("search", "study", "trial"))]


@pytest.mark.thorough
def test_the_command_names_no_settings_of_other_strategies(here: Path) -> None:
    study = study_of(here, "study=s", ARMS, "strategy.rank=choice(4,16)", "search.num_trials=9")
    for command, trial in zip(commands(study), study.trials, strict=True):
        strategy = study.params_of(trial)["strategy"]
        assert f"strategy={strategy}" in command
        ranks = [word for word in command if word.startswith("strategy.rank")]
        assert len(ranks) == (strategy == "lora")


def test_the_command_names_the_study_if_words_cannot_describe_the_trial(here: Path) -> None:
    (here / "mine/strategy").mkdir(parents=True)
    (here / "mine/strategy/gentle.yaml").write_text(
        "_target_: lightning_modules.strategy.full.Full\nlr: 1e-5\nlr_min: 1e-6\nlr_max: 1e-4\n"
    )
    words = ["model=tiny", "strategy=gentle", "study=g", "search.num_trials=1"]
    plan = build_plan(compose("sweep", words, here / "mine"))
    folder = study_folder(here, plan.name)
    study = prepare_study(plan, folder, check_study(plan, folder))
    session = join(study)
    assert session.next_attempt() is not None
    assert repeat_command(study, study.trials[0]) == "finesweep train study=g trial=0"
    assert find_repeat(study, "0").run == plan.default


@pytest.mark.parametrize("number", ["7", "-1", "x", ""])
def test_a_missing_trial_is_reported(here: Path, number: str) -> None:
    study = study_of(here, "search.num_trials=2")
    with pytest.raises(ConfigError, match="trial: must be a trial of study default, 0 to 1"):
        find_repeat(study, number)
