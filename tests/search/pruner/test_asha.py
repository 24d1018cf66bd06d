from __future__ import annotations

from dataclasses import replace

import pytest

from lightning_modules.error import ConfigError
from search.pruner.asha import Asha
from search.pruner.progress import LOSS, Axis, Mark, Progress


def asha(
    first_rung: int | None = 1,
    reduction_factor: int = 3,
    at_equal: Axis = Axis.steps,
    min_fraction: float = 0.0,
) -> Asha:
    return Asha(
        compare=[LOSS],
        at_equal=at_equal,
        min_fraction=min_fraction,
        min_finished=1,
        first_rung=first_rung,
        reduction_factor=reduction_factor,
    )


@pytest.mark.parametrize(
    ("first_rung", "reduction_factor", "rungs"),
    [(1, 3, [1, 3, 9, 27]), (2, 3, [2, 6, 18]), (1, 2, [1, 2, 4, 8, 16]), (5, 4, [5, 20])],
)
def test_rungs_lie_at_powers_of_eta(
    first_rung: int, reduction_factor: int, rungs: list[int]
) -> None:
    for at_equal in Axis:
        assert rungs_of(asha(first_rung, reduction_factor, at_equal)) == rungs


def trial(number: int, epochs: int, num_validations: int, loss: float = 0.5) -> Progress:
    """Return a run of 40 rows that is validated twice an epoch, and gets better until `loss`."""
    marks = [
        Mark(half, 20 * half, half / 2, {LOSS: -1.0 - (loss - 1.0) * half / (2 * epochs)})
        for half in range(1, num_validations + 1)
    ]
    return Progress(number, marks, 40 * epochs, 40 * epochs)


def rungs_of(pruner: Asha) -> list[int]:
    return [number for number in range(1, 31) if pruner.judges(trial(9, 20, number), number)]


def test_without_a_first_rung_every_validation_is_one_at_equal_fractions() -> None:
    assert rungs_of(asha(None, 2, Axis.fraction)) == list(range(1, 31))


@pytest.mark.parametrize("axis", [Axis.steps, Axis.examples, Axis.epochs])
def test_without_a_first_rung_it_is_1_after_equal_training(axis: Axis) -> None:
    assert rungs_of(asha(None, 2, axis)) == [1, 2, 4, 8, 16]


def test_a_run_of_unknown_length_has_the_rungs_of_counts() -> None:
    pruner = asha(None, 2, Axis.fraction)
    asked = replace(trial(9, 20, 3), num_examples=None)
    assert [number for number in range(1, 31) if pruner.judges(asked, number)] == [1, 2, 4, 8, 16]


@pytest.mark.parametrize(
    ("epochs", "min_fraction", "first"),
    [(6, 0.35, 5), (7, 0.35, 5), (8, 0.35, 6), (10, 0.35, 7), (6, 0.7, 9), (8, 0.7, 12)],
)
def test_where_a_trial_can_end_is_a_share_of_its_run(
    epochs: int, min_fraction: float, first: int
) -> None:
    """Of 8 epochs with two validations each: at 37.5 % of the run, or 75 %, and ever after."""
    pruner = asha(None, 2, Axis.fraction, min_fraction)
    others = [trial(each, each + 5, 2 * (each + 5), loss=0.1) for each in range(1, 5)]
    ends = [
        number
        for number in range(1, 2 * epochs + 1)
        if pruner.reason_to_stop(trial(9, epochs, number), number, others, 4) is not None
    ]
    assert ends == list(range(first, 2 * epochs))


def test_with_a_first_rung_where_a_trial_can_end_depends_on_its_length() -> None:
    """Studies that began with rungs by counts keep them."""
    pruner = asha(1, 2, Axis.fraction, 0.35)
    others = [trial(each, each + 5, 2 * (each + 5), loss=0.1) for each in range(1, 5)]
    for epochs, ends in ((6, [8]), (7, [8]), (8, [8]), (9, [8, 16])):
        assert ends == [
            number
            for number in range(1, 2 * epochs + 1)
            if pruner.reason_to_stop(trial(9, epochs, number), number, others, 4) is not None
        ]


@pytest.mark.parametrize(
    ("num_seen", "num_promoted"), [(1, 1), (2, 1), (3, 1), (5, 1), (6, 2), (9, 3), (10, 3)]
)
def test_the_best_floor_n_over_eta_continue(num_seen: int, num_promoted: int) -> None:
    values = [float(value) for value in range(num_seen)]
    promoted = [
        value
        for value in values
        if asha().verdict(value, [other for other in values if other != value]) is None
    ]
    assert promoted == values[-num_promoted:]


def test_trials_tied_with_the_best_continue() -> None:
    assert asha().verdict(0.5, [0.5] * 8) is None


def test_the_verdict_names_the_rank_and_how_many_continue() -> None:
    assert asha().verdict(0.1, [0.2, 0.3, 0.0]) == "ranked 3 of 4"
    assert asha().consequence(4) == "; only the top 1 continues"
    assert asha().consequence(6) == "; only the top 2 continue"


def test_settings_are_checked_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        Asha(
            compare=[],
            at_equal=Axis.steps,
            min_fraction=1.0,
            min_finished=0,
            first_rung=0,
            reduction_factor=1,
        )
    assert [problem.where for problem in error.value.problems] == [
        "compare",
        "min_fraction",
        "min_finished",
        "first_rung",
        "reduction_factor",
    ]
