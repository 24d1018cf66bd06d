from __future__ import annotations

from lightning_modules.outcome import Ending
from search.worker.breaker import Breaker
from search.worker.event import Ended, Note


def ended(ending: str) -> Ended:
    return Ended(0, Ending(ending), "ValueError: no such luck", None, 1.0)


def test_three_failures_in_a_row_are_a_reason_to_stop_once() -> None:
    breaker = Breaker()
    failed = ended("failed")
    assert [breaker.reason_to_stop(failed) for _ in range(2)] == [None, None]
    assert breaker.reason_to_stop(failed) == (
        "stopping the sweep: 3 trials in a row failed: ValueError: no such luck"
    )
    assert breaker.reason_to_stop(failed) is None


def test_any_other_ending_begins_a_new_row_and_an_interrupted_attempt_is_none() -> None:
    breaker = Breaker()
    for ending in ("failed", "failed", "pruned", "failed", "interrupted", "failed"):
        assert breaker.reason_to_stop(ended(ending)) is None
    assert breaker.reason_to_stop(Note("looked at")) is None
    assert breaker.reason_to_stop(ended("failed")) is not None
