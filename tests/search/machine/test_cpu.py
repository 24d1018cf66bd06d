from __future__ import annotations

import pytest

from search.machine.cpu import num_cores, worker_threads


@pytest.mark.parametrize("limit", ["", "none", "0", "10000"])
def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert worker_threads(1) == num_cores()
    assert worker_threads(10 * num_cores()) == 1


def test_user_may_ask_for_fewer_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert worker_threads(1) == 1
