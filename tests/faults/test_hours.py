"""`search.max_hours` is a total of training time, over workers, restarts and what was lost."""

from __future__ import annotations

import pytest

from tests.faults.conftest import Start, ends_of, status

SECONDS = 20.0


@pytest.mark.slow
def test_training_stops_when_the_hours_are_used_up_and_goes_on_with_more(sweep: Start) -> None:
    words = ("search.num_trials=2", "trainer.epochs=1000", "search.workers=2")
    first = sweep(*words, f"search.max_hours={SECONDS / 3600}")
    output = first.end()
    assert first.process.returncode == 1, output  # nothing has finished
    assert f"search.max_hours={SECONDS / 3600:g} ended it, 2 trials left." in output
    trials = first.trials
    assert [trial.state.name for trial in trials] == ["WAITING"] * 2
    for trial in trials:
        (end,) = ends_of(trial)
        assert end["fault"] == "interrupted" and "max_hours" in end["reason"] and end["step"] > 0
    trained = sum(trial.user_attrs["seconds"] for trial in trials)
    # It is twice as much if each worker has the hours for itself. They overstep by the step and
    # the checkpoint that are under way.
    assert trained <= 1.5 * SECONDS
    assert status()["states"]["waiting"] == 2
    again = sweep(*words, f"search.max_hours={2 * SECONDS / 3600}")
    output = again.end()
    assert "trial 0 goes on from its last checkpoint" in output
    total = sum(trial.user_attrs["seconds"] for trial in again.trials)
    # Three times as much if the first call's hours are forgotten.
    assert trained < total <= 2.5 * SECONDS
