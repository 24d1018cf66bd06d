from __future__ import annotations

from search.pruner.base import Progress
from search.pruner.none import NoPruner


def test_the_worst_trial_continues() -> None:
    rivals = [Progress({10: 0.9}, 100, 100)] * 20
    assert NoPruner().reason_to_stop(Progress({10: 0.0}, 100, 100), 1, rivals, 20) is None
