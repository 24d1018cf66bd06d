"""Which arm, and which values, the trials of a study of several arms start with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from lightning_modules.check import CheckedRows, check_run
from search.config import compose
from search.plan.build import build_plan
from search.plan.plan import Plan
from search.sampler.base import seeded_sampler
from search.space.key import canonical_key
from search.storage.attribute import FIXED, GUARD, METRICS, TURN, drop_attribute
from search.storage.failure import FailureKind
from search.storage.location import study_folder
from search.study.arm import decide_arm, start_of
from search.study.attempt import Attempt
from search.study.open import load_study
from search.study.prepare import prepare_study
from search.study.session import Session, join
from search.study.study import Study
from search.study.suggest import candidates, first_suggestions, waiting_trial
from tests.search.study.conftest import outcome

THREE = "strategy=choice(lora,full,feature_extraction)"
SCORES = {"lora": 0.8, "full": 0.6, "feature_extraction": 0.7}


@cache
def plan_of(*words: str) -> Plan:
    fixed = [
        "study=s",
        "model=tiny",
        "logger=none",
        "search/sampler=random",
        "search.num_trials=15",
    ]
    return build_plan(compose("sweep", [*fixed, *words]))


def study_of(root: Path, *words: str) -> Study:
    plan = plan_of(*words)
    return prepare_study(plan, study_folder(root, plan.name), rows())


@cache
def rows() -> CheckedRows:
    """Return the rows, which are the same in all of these studies."""
    return check_run(plan_of(THREE).default)


def end(session: Session, attempt: Attempt, scores: Mapping[str, float] = SCORES) -> None:
    session.began(attempt, num_examples=1200, stable_examples=960)
    session.ended(attempt, outcome(scores[attempt.values["strategy"]]))


def run(session: Session, number: int = 100, scores: Mapping[str, float] = SCORES) -> list[str]:
    """Run up to `number` trials; return their strategies."""
    made = []
    while len(made) < number and (attempt := session.next_attempt()) is not None:
        made.append(attempt.values["strategy"])
        end(session, attempt, scores)
    return made


def draft(
    plan: Plan, number: int, scores: Mapping[str, float | None] = SCORES
) -> list[dict[str, Any]]:
    """Return the values of the first trials of a study in memory, whose arms score always the same.

    A trial whose arm scores None is pruned.
    """
    sampler = seeded_sampler(
        plan.search.sampler, plan.space, plan.sampler_seed, defaults=plan.defaults_of_arms
    )
    study = optuna.create_study(directions=["maximize"] * len(plan.objectives), sampler=sampler)
    made: list[dict[str, Any]] = []
    for at in range(number):
        first = plan.first[at] if at < len(plan.first) else {}
        study.add_trial(waiting_trial(plan.space, first))
        trial = study.ask()
        decide_arm(study, at, plan)
        keys = {canonical_key(values) for values in made}
        drafts = candidates(study, trial._trial_id, plan, keys.__contains__)
        values = next(values for values in drafts if canonical_key(values) not in keys)
        for name, value in plan.space.by_name(values).items():
            distribution = plan.space.parameters[name].distribution
            internal = distribution.to_internal_repr(value)
            study._storage.set_trial_param(trial._trial_id, name, internal, distribution)
        made.append(values)
        score = scores[values["strategy"]]
        if score is None:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, [score] * len(plan.objectives))
    return made


def strategies(made: Sequence[Mapping[str, Any]]) -> list[str]:
    return [values["strategy"] for values in made]


ARMS = ["lora", "full", "feature_extraction"]
WHOLE = ARMS * 3 + ["lora", "feature_extraction"] * 3


@pytest.mark.thorough
def test_arms_open_in_turn_then_the_better_half_continues(here: Path) -> None:
    study = study_of(here, THREE)
    assert run(join(study)) == WHOLE
    values = [study.params_of(trial) for trial in study.trials]
    up, down = zip(*study.plan.openings.values(), strict=True)
    assert values[:9] == [*study.plan.first, *up, *down]
    assert len({tuple(each.items()) for each in values}) == 15
    assert first_suggestions(study.plan) == values[:9]
    assert [TURN in trial.system_attrs for trial in study.trials] == [False] * 3 + [True] * 12


@pytest.mark.thorough
def test_a_study_that_restarts_in_the_middle_takes_the_same_turns(here: Path) -> None:
    study = study_of(here, THREE)
    made = run(join(study), 7)
    session = join(load_study(study.folder))
    attempt = session.next_attempt()
    assert attempt is not None
    session.hand_back(attempt, FailureKind.interrupted, "asked to stop", 1.0)
    study = study_of(here, THREE)  # queues the first trials again
    again = join(load_study(study.folder))
    assert made + run(again) == WHOLE
    assert dict(study.params_of(study.trial(7))) == dict(attempt.values)


@pytest.mark.thorough
def test_parallel_workers_share_the_turns(here: Path) -> None:
    study = study_of(here, THREE)
    sessions = [join(load_study(study.folder)) for _ in range(4)]
    made: list[str] = []
    running: list[tuple[Session, Attempt]] = []
    for at in range(15):
        session = sessions[at % 4]
        attempt = session.next_attempt()
        assert attempt is not None and attempt.number == at
        made.append(attempt.values["strategy"])
        running.append((session, attempt))
        if len(running) == 4:
            end(*running.pop(0))
    assert made[:9] == WHOLE[:9]
    assert made.count("full") == 3
    assert len({tuple(study.params_of(trial).items()) for trial in study.trials}) == 15


def test_trials_claimed_at_once_have_different_turns(here: Path) -> None:
    session = join(study_of(here, THREE))
    attempts = session.next_attempts(9)
    assert [attempt.values["strategy"] for attempt in attempts] == ARMS * 3


def test_an_arm_whose_trials_are_pruned_or_diverge_drops_out() -> None:
    scores = {"lora": None, "full": 0.1, "feature_extraction": 0.2}
    made = strategies(draft(plan_of(THREE), 15, scores))
    assert made == ARMS * 3 + ["feature_extraction", "full"] * 3


def test_a_dropped_trial_has_had_its_turn_but_its_score_does_not_count() -> None:
    plan = plan_of(THREE)
    trials = []
    for values in draft(plan, 9):
        params = plan.space.by_name(values)
        trials.append(
            create_trial(
                params=params,
                distributions={n: plan.space.parameters[n].distribution for n in params},
                value=SCORES[values["strategy"]],
                system_attrs={TURN: True},
            )
        )
    study = optuna.create_study(direction="maximize")
    study.add_trials([*trials, create_trial(state=TrialState.WAITING)])
    assert (start_of(plan, study.trials, 9) or {})["strategy"] == "lora"
    for number in (0, 3, 6):  # all of lora
        study._storage.set_study_system_attr(study._study_id, drop_attribute(number), True)
    decide_arm(study, 9, plan)
    assert study.trials[9].system_attrs[FIXED]["strategy"] == "feature_extraction"


def test_an_arm_whose_trials_break_a_guard_has_no_score() -> None:
    plan, trials = plan_of(THREE), []
    for values in draft(plan, 9):
        params = plan.space.by_name(values)
        excess = 0.1 if values["strategy"] == "lora" else -0.1
        trials.append(
            create_trial(
                params=params,
                distributions={n: plan.space.parameters[n].distribution for n in params},
                value=SCORES[values["strategy"]],
                system_attrs={TURN: True, f"{GUARD}old": excess},
            )
        )
    study = optuna.create_study(direction="maximize")
    study.add_trials([*trials, create_trial(state=TrialState.WAITING)])
    assert (start_of(plan, study.trials, 9) or {})["strategy"] == "feature_extraction"


def test_arms_are_ranked_as_the_trials_of_the_study() -> None:
    by_metric, by_loss = plan_of(THREE), plan_of(THREE, "search.select=log_loss")
    losses = {"lora": 0.7, "full": 0.4, "feature_extraction": 0.5}
    trials = []
    for values in draft(by_metric, 9):
        params = by_metric.space.by_name(values)
        trials.append(
            create_trial(
                params=params,
                distributions={n: by_metric.space.parameters[n].distribution for n in params},
                value=SCORES[values["strategy"]],
                user_attrs={METRICS: {"log_loss": losses[values["strategy"]], "accuracy": 0.5}},
                system_attrs={TURN: True},
            )
        )
    study = optuna.create_study(direction="maximize")
    study.add_trials([*trials, create_trial(state=TrialState.WAITING)])
    start = start_of(by_loss, study.trials, 9)
    assert start == {"strategy": "full"}
    study.add_trial(create_trial(value=0.9))  # without the loss, e.g. of an earlier version
    assert start_of(by_loss, study.trials, 9) == {"strategy": "lora"}


def test_a_budget_below_all_openings_opens_the_better_half() -> None:
    plan = plan_of(THREE, "search.num_trials=8")
    assert strategies(draft(plan, 8)) == [*ARMS, *["lora", "feature_extraction"] * 2, "lora"]
    assert strategies(first_suggestions(plan)) == ARMS


def test_a_budget_below_the_number_of_arms_tries_the_first_defaults() -> None:
    plan = plan_of(THREE, "search.num_trials=2")
    assert strategies(first_suggestions(plan)) == strategies(draft(plan, 2)) == ["lora", "full"]


@pytest.mark.thorough
def test_a_higher_budget_continues_the_turns(here: Path) -> None:
    small = run(join(study_of(here, THREE, "search.num_trials=4")))
    assert small == [*ARMS, "lora"]
    assert small + run(join(study_of(here, THREE))) == [*ARMS, "lora", *ARMS[1:], *WHOLE[6:]]


def test_several_objectives_drop_no_arm() -> None:
    made = strategies(draft(plan_of(THREE, "search.objectives=[accuracy,seconds]"), 15))
    assert sorted(made) == sorted(ARMS * 5)


def test_enqueued_values_keep_their_arm_and_those_without_one_get_one() -> None:
    enqueued = "search.enqueue=[{strategy: full, optimizer.lr: 8e-5},{data.batch_size: 8}]"
    plan = plan_of(THREE, enqueued)
    made = draft(plan, 8)
    assert strategies(made) == [*ARMS, "full", "lora", "full", "feature_extraction", "lora"]
    assert made[3]["optimizer.lr"] == 8e-5
    assert made[4]["data.batch_size"] == 8
    assert made[5:7] == [plan.openings["full",][0], plan.openings["feature_extraction",][0]]


def test_a_setting_of_one_arm_is_searched_in_that_arm() -> None:
    plan = plan_of(THREE, "strategy.rank=choice(4,8)", "search.enqueue=[{strategy.rank: 4}]")
    assert draft(plan, 4)[3]["strategy"] == "lora"


def test_an_enqueued_setting_of_one_arm_is_tried_there_in_a_joint_study(here: Path) -> None:
    queue = "[{strategy.rank: 4},{strategy.rank: 8},{strategy.rank: 16}]"
    words = ("search.arms=joint", "strategy.rank=choice(4,8,16)", f"search.enqueue={queue}")
    plan = plan_of(THREE, *words)
    assert strategies(first_suggestions(plan)[3:6]) == ["lora"] * 3
    session = join(study_of(here, THREE, *words))
    assert run(session, 6)[3:] == ["lora"] * 3
    assert [trial.params["strategy.rank"] for trial in session.study.trials[3:6]] == [4, 8, 16]


def test_arms_without_a_learning_rate_get_sampled_points() -> None:
    words = ("strategy=choice(lora,full)", "search/space=none", "data.batch_size=interval(4,64)")
    made = draft(plan_of(*words), 6)
    assert strategies(made) == ["lora", "full"] * 3
    sizes = [values["data.batch_size"] for values in made]
    assert sizes[:2] == [16, 16] and len(set(sizes)) == 5


def test_an_exhausted_arm_leaves_its_turns_to_the_others() -> None:
    words = ("strategy=choice(lora,full)", "search/space=none", "strategy.rank=choice(4,8,16)")
    plan = plan_of(*words)
    assert plan.num_trials == 4
    assert strategies(draft(plan, 4, {"lora": 0.1, "full": 0.9})) == [
        "lora",
        "full",
        "lora",
        "lora",
    ]


def test_a_joint_study_leaves_the_arm_to_the_sampler() -> None:
    plan = plan_of(THREE, "search.arms=joint")
    assert not plan.takes_turns
    assert strategies(draft(plan, 15))[3:] != WHOLE[3:]


def test_no_turns_where_there_is_one_arm_or_a_grid() -> None:
    assert not plan_of().takes_turns
    assert not plan_of().openings
    grid = ("search/sampler=grid", "search/space=none", "data.batch_size=choice(8,16)", THREE)
    assert not plan_of(*grid).takes_turns
