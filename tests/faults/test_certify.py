"""A certificate: its runs are killed and resumed like any trial, and no run is scored twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.certificate.certificate import Certificate
from search.trained.find import find_study
from tests.conftest import written_certificates
from tests.faults.conftest import Start, Sweep, ask, kill_in_follow_up, status

CERTIFY = ("search.certify=true", "search.certify_seeds=2", "search.portfolio=false")
SHORT = ("search/sampler=random", "search/pruner=none", "data=files", "search.num_trials=2")


def certificate(sweep: Sweep) -> Certificate:
    (found,) = written_certificates(sweep.folder / "studies/s")
    return found


@pytest.mark.slow
def test_killed_while_certifying_nothing_is_lost_and_nothing_counts_twice(
    sweep: Start, learnable: Path
) -> None:
    words = (*CERTIFY, *SHORT, f"data.train={learnable}", "trainer.epochs=10")
    running = sweep(*words)
    runs = running.follow_up("certify")
    ended = kill_in_follow_up(running, runs, num_ended=1)
    assert "certifying trial" in running.printed()
    assert (status()["num_trials"], status()["remaining"]) == (2, 0)
    assert "of 4 runs have ended; run the same command" in ask("status", "study=s")
    assert not find_study("s").looks  # the test rows are still sealed

    again = sweep(*words)
    again.until(lambda: find_study("s").looks, 600)
    again.process.kill()  # while it scores: after the first look
    again.end()
    scored = dict(find_study("s.certify").scored)
    seen = len(find_study("s").looks)
    assert len(scored) <= seen <= len(scored) + 1  # a look is stored before its score

    printed = sweep(*words).end(seconds=900)
    assert "Certificate: " in printed
    trials = runs.trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 4
    assert ended.items() <= runs.ended.items()  # none was trained again
    assert sorted(trial.params["seed"] for trial in trials) == [1000, 1000, 1001, 1001]
    study = find_study("s")
    kept = find_study("s.certify").scored
    assert sorted(kept) == [0, 1, 2, 3]
    assert {number: kept[number] for number in scored} == scored  # none was scored again
    assert len(study.looks) == seen + 4 - len(scored)
    found = certificate(running)
    assert found.num_looks == len(study.looks)
    assert status()["states"]["complete"] == status()["num_trials"] == 2

    assert "scoring" not in sweep(*words).end(seconds=600)
    assert len(find_study("s").looks) == found.num_looks
    assert certificate(running).difference == found.difference
