from __future__ import annotations

import pytest

from lightning_modules.error import ConfigError
from search.pruner.asha import Asha
from search.pruner.progress import LOSS, Axis


def asha(first_rung: int = 1, reduction_factor: int = 3) -> Asha:
    return Asha(
        compare=[LOSS],
        at_equal=Axis.steps,
        min_fraction=0.0,
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
    pruner = asha(first_rung, reduction_factor)
    assert [number for number in range(1, 31) if pruner.judges(number)] == rungs


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
