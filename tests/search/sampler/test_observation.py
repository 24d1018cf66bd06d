from __future__ import annotations

import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from lightning_modules.outcome import Ending
from search.sampler.observation import AllFinished, is_infeasible, losses
from search.storage.attribute import GUARD, constraint

X = {"x": FloatDistribution(0, 1)}


def trial(state: TrialState, value: float | None = None, **more: object) -> FrozenTrial:
    return create_trial(
        state=state,
        value=value,
        params={"x": 0.5},
        distributions=X,
        **more,  # type: ignore[arg-type]
    )


def study_of(*trials: FrozenTrial) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials)
    return study


FINISHED = [trial(TrialState.COMPLETE, value) for value in (0.5, 0.7, 0.9)]
DIVERGED = trial(TrialState.PRUNED, system_attrs={constraint(Ending.diverged): 1.0})


def pruned(last: float) -> FrozenTrial:
    return trial(TrialState.PRUNED, intermediate_values={1: 0.99, 2: last})


def test_a_diverged_trial_counts_as_the_worst_finished_one() -> None:
    assert is_infeasible(DIVERGED)
    study = study_of(*FINISHED, DIVERGED)
    assert losses(study.trials, [-1]) == {0: [-0.5], 1: [-0.7], 2: [-0.9], 3: [-0.5]}


def test_a_pruned_trial_counts_between_the_middle_and_the_worst() -> None:
    study = study_of(*FINISHED, pruned(0.6), pruned(0.8), pruned(0.1))
    shown = losses(study.trials, [-1])
    assert [shown[number] for number in (3, 4, 5)] == [[-0.6], [-0.7], [-0.5]]


def guarded(value: float, excess: float) -> FrozenTrial:
    return trial(TrialState.COMPLETE, value, system_attrs={f"{GUARD}old": excess})


def test_a_finished_trial_that_breaks_a_guard_is_worse_than_all_that_keep_it() -> None:
    study = study_of(guarded(0.5, -0.1), guarded(0.7, -0.1), guarded(0.9, 0.2), pruned(0.8))
    shown = losses(study.trials, [-1])
    # The worst finished value is 0.5 and the span 0.4; the middle of those that hold is 0.6.
    assert {n: round(loss, 6) for n, (loss,) in shown.items()} == {
        0: -0.5,
        1: -0.7,
        2: -0.1,
        3: -0.6,
    }
    assert [is_infeasible(each) for each in study.trials] == [False, False, True, False]


def test_the_first_of_two_trials_is_better_if_the_second_breaks_a_guard() -> None:
    shown = losses(study_of(guarded(0.7, -0.1), guarded(0.7, 0.1)).trials, [-1])
    assert {n: round(loss, 6) for n, (loss,) in shown.items()} == {0: -0.7, 1: 0.3}


def test_the_smallest_violation_is_the_best_if_no_trial_holds() -> None:
    study = study_of(guarded(0.9, 0.3), guarded(0.5, 0.1), pruned(0.99))
    assert losses(study.trials, [-1]) == {0: [0.3], 1: [0.1], 2: [0.3]}


def test_other_samplers_see_values_in_place_of_guards() -> None:
    study = study_of(guarded(0.5, -0.1), guarded(0.9, 0.2))
    shown = AllFinished(study).get_trials(states=(TrialState.COMPLETE,))
    assert [round(each.value or 0.0, 6) for each in shown] == [0.5, 0.1]
    assert [each.system_attrs for each in shown] == [{}, {}]
    assert [each.value for each in study.trials] == [0.5, 0.9]


def test_nothing_is_shown_before_a_trial_has_finished() -> None:
    assert losses(study_of(DIVERGED, pruned(0.6)).trials, [-1]) == {}


def test_failed_and_running_trials_are_not_shown() -> None:
    study = study_of(*FINISHED, trial(TrialState.FAIL), trial(TrialState.RUNNING))
    assert losses(study.trials, [-1]).keys() == {0, 1, 2}


def test_ended_trials_look_finished_and_the_study_is_unchanged() -> None:
    study = study_of(*FINISHED, DIVERGED, pruned(0.6))
    shown = AllFinished(study).get_trials(states=(TrialState.COMPLETE,))
    assert [t.value for t in shown] == [0.5, 0.7, 0.9, 0.5, 0.6]
    assert [t.state.name for t in study.trials[3:]] == ["PRUNED", "PRUNED"]
