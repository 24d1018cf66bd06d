"""A trial on two devices: both ranks stop when it is pruned, and retry when one is killed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.faults.conftest import Start, Sweep, ends_of, status

pytestmark = pytest.mark.slow  # each rank is a process with imports of its own


def other_ranks(sweep: Sweep) -> list[psutil.Process]:
    """Return the processes of the sweep's ranks other than 0."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        is_rank = "lightning_modules.launch.follower" in (process.info["cmdline"] or ())
        if is_rank and process.info["status"] != psutil.STATUS_ZOMBIE:
            with suppress(psutil.NoSuchProcess):
                if Path(process.cwd()) == sweep.folder:
                    found.append(process)
    return found


def test_pruning_stops_both_ranks_and_a_killed_rank_costs_one_attempt(
    sweep: Start, storage: str | None
) -> None:
    it = sweep(
        *("trainer.devices=2", "search/pruner=asha", "search.pruner.min_finished=1"),
        *("search.num_trials=3", "trainer.epochs=8", "task.metric=log_loss"),
        *("strategy.lr=1e-3", "optimizer.lr=tag(log,interval(1e-9,1e-2))"),
        "search.enqueue=[{optimizer.lr: 1e-9}]",
        storage=storage,
    )
    # Trial 0 loses a rank, trial 1 learns nothing and is pruned, trial 2 finds both ranks ready.
    it.until(it.under_way, seconds=240)
    (rank,) = other_ranks(it)
    rank.kill()
    output = it.end()
    assert it.process.returncode == 0, output
    lost, pruned, last = it.trials
    assert lost.state.name == "COMPLETE" and lost.user_attrs["attempt"] == 2
    (end,) = ends_of(lost)
    assert end["fault"] == "failed"
    reason = "RankFailed: rank 1 of 2 died: killed by SIGKILL"
    assert end["reason"] == reason
    assert f"trial 0 attempt 1 ended: {reason}; it will be retried" in output
    assert "trial 0 resumes from its checkpoint" in output
    assert (pruned.state.name, pruned.user_attrs["ending"]) == ("PRUNED", "pruned")
    assert last.state.is_finished() and last.user_attrs["attempt"] == 1
    assert not other_ranks(it) and not it.workers
    states = status(storage)["states"]
    assert states["running"] == states["waiting"] == states["fail"] == 0
