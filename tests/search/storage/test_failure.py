from __future__ import annotations

import pytest

from search.storage.failure import MAX_KILLS, End, Fault, reason_to_fail


def ends(*faults: tuple[Fault, int]) -> list[End]:
    return [End(n, fault, f"reason {n}", step, "w") for n, (fault, step) in enumerate(faults, 1)]


@pytest.mark.parametrize("fault", [Fault.failed, Fault.crashed])
def test_what_breaks_again_and_again_at_the_same_step_fails(fault: Fault) -> None:
    assert reason_to_fail(ends((fault, 0), (fault, 0)), max_attempts=3) is None
    told = reason_to_fail(ends((fault, 5), (fault, 5), (fault, 5)), max_attempts=3)
    assert told == "3 attempts got no further, the last one: reason 3"
    assert reason_to_fail(ends((fault, 0)), max_attempts=1) is not None


def test_what_gets_further_each_time_goes_on() -> None:
    broken = [(Fault.failed, step) for step in range(50)]
    assert reason_to_fail(ends(*broken), max_attempts=2) is None


def test_an_interruption_never_counts() -> None:
    assert reason_to_fail(ends(*[(Fault.interrupted, 0)] * 99), max_attempts=1) is None


@pytest.mark.parametrize("fault", [Fault.killed, Fault.lost])
def test_what_came_from_outside_counts_late(fault: Fault) -> None:
    assert reason_to_fail(ends(*[(fault, 0)] * (MAX_KILLS - 1)), max_attempts=1) is None
    assert reason_to_fail(ends(*[(fault, 0)] * MAX_KILLS), max_attempts=1) is not None


def test_a_hang_has_one_more_try() -> None:
    assert reason_to_fail(ends((Fault.hung, 0)), max_attempts=9) is None
    assert reason_to_fail(ends((Fault.hung, 0), (Fault.hung, 0)), max_attempts=9) is not None


def test_ends_are_kept_as_plain_values() -> None:
    (end,) = ends((Fault.out_of_memory, 3))
    assert End.from_dict(end.as_dict()) == end
