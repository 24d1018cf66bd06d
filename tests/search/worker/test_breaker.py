from __future__ import annotations

from lightning_modules.outcome import Ending
from search.worker.breaker import Breaker
from search.worker.event import Ended, Note


def ended(ending: str) -> Ended:
    return Ended(0, Ending(ending), "ValueError: no such luck", None, 1.0)


def test_three_failures_in_a_row_give_one_reason_to_stop() -> None:
    breaker = Breaker()
    failed = ended("failed")
    assert [breaker.reason_to_stop(failed) for _ in range(2)] == [None, None]
    assert breaker.reason_to_stop(failed) == (
        "stopping the sweep: 3 trials in a row failed: ValueError: no such luck"
    )
    assert breaker.reason_to_stop(failed) is None


def test_any_other_ending_resets_the_count_but_an_interruption_does_not() -> None:
    breaker = Breaker()
    for ending in ("failed", "failed", "pruned", "failed", "interrupted", "failed"):
        assert breaker.reason_to_stop(ended(ending)) is None
    assert breaker.reason_to_stop(Note("looked at")) is None
    assert breaker.reason_to_stop(ended("failed")) is not None
