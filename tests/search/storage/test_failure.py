from __future__ import annotations

import pytest

from search.storage.failure import MAX_KILLS, FailedAttempt, FailureKind, reason_to_fail


def ends(*failures: tuple[FailureKind, int]) -> list[FailedAttempt]:
    return [
        FailedAttempt(n, kind, f"reason {n}", step, "w")
        for n, (kind, step) in enumerate(failures, 1)
    ]


@pytest.mark.parametrize("kind", [FailureKind.failed, FailureKind.crashed])
def test_a_trial_fails_after_repeated_failures_at_the_same_step(kind: FailureKind) -> None:
    assert reason_to_fail(ends((kind, 0), (kind, 0)), max_attempts=3) is None
    reason = reason_to_fail(ends((kind, 5), (kind, 5), (kind, 5)), max_attempts=3)
    assert reason == "3 attempts made no progress; the last: reason 3"
    assert reason_to_fail(ends((kind, 0)), max_attempts=1) is not None


def test_a_trial_that_makes_progress_is_retried() -> None:
    broken = [(FailureKind.failed, step) for step in range(50)]
    assert reason_to_fail(ends(*broken), max_attempts=2) is None


def test_an_interruption_never_counts() -> None:
    assert reason_to_fail(ends(*[(FailureKind.interrupted, 0)] * 99), max_attempts=1) is None


@pytest.mark.parametrize("kind", [FailureKind.killed, FailureKind.lost])
def test_failures_from_outside_are_tolerated_longer(kind: FailureKind) -> None:
    assert reason_to_fail(ends(*[(kind, 0)] * (MAX_KILLS - 1)), max_attempts=1) is None
    assert reason_to_fail(ends(*[(kind, 0)] * MAX_KILLS), max_attempts=1) is not None


def test_a_hang_is_retried_once() -> None:
    assert reason_to_fail(ends((FailureKind.hung, 0)), max_attempts=9) is None
    assert (
        reason_to_fail(ends((FailureKind.hung, 0), (FailureKind.hung, 0)), max_attempts=9)
        is not None
    )


def test_failed_attempts_are_stored_as_plain_values() -> None:
    (end,) = ends((FailureKind.out_of_memory, 3))
    assert FailedAttempt.from_dict(end.as_dict()) == end
