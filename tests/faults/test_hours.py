"""`search.max_hours` limits the total training time of all workers and restarts."""

from __future__ import annotations

import pytest

from tests.faults.conftest import Start, ends_of, status

SECONDS = 20.0


@pytest.mark.slow
def test_training_stops_at_max_hours_and_continues_with_more(sweep: Start) -> None:
    words = ("search.num_trials=2", "trainer.epochs=1000", "search.workers=2")
    first = sweep(*words, f"search.max_hours={SECONDS / 3600}")
    output = first.end()
    assert first.process.returncode == 1, output  # nothing has finished
    assert f"search.max_hours={SECONDS / 3600:g} is used up, 2 trials left." in output
    trials = first.trials
    assert [trial.state.name for trial in trials] == ["WAITING"] * 2
    for trial in trials:
        (end,) = ends_of(trial)
        assert end["fault"] == "interrupted" and "max_hours" in end["reason"] and end["step"] > 0
    trained = sum(trial.user_attrs["seconds"] for trial in trials)
    # Twice as much if max_hours is per worker. Workers exceed it by the step and the checkpoint
    # that they have begun.
    assert trained <= 1.5 * SECONDS
    assert status()["states"]["waiting"] == 2
    again = sweep(*words, f"search.max_hours={2 * SECONDS / 3600}")
    output = again.end()
    assert "trial 0 resumes from its checkpoint" in output
    total = sum(trial.user_attrs["seconds"] for trial in again.trials)
    # Three times as much if the hours of the first call do not count.
    assert trained < total <= 2.5 * SECONDS
