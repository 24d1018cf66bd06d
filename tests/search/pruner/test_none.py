from __future__ import annotations

from search.pruner.none import NoPruner
from search.pruner.progress import METRIC, Mark, Progress


def progress(number: int, value: float) -> Progress:
    return Progress(number, [Mark(1, 10, 0.1, {METRIC: value})], 100, 100)


def test_the_worst_trial_continues() -> None:
    rivals = [progress(number, 0.9) for number in range(20)]
    assert NoPruner().reason_to_stop(progress(20, 0.0), 1, rivals, 20) is None
