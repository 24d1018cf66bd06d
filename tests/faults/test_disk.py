"""A disk that fills up under a sweep: said with the path and the room, and nothing told is lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import SmallDisk
from tests.faults.conftest import Start, Sweep

EPOCHS = 14
WANDB_NEEDS_MORE = 200_000  # bytes
# Rates so small that no validation is better than the first: beside checkpoints, only the
# database and W&B are written to.
WORDS = (
    "logger=wandb",
    f"trainer.epochs={EPOCHS}",
    "trainer.validations_per_epoch=1",
    "model.width=16",
    "optimizer.lr=tag(log,interval(1e-9,1e-8))",
    "strategy.lr=1e-9",
    "search.num_trials=2",
)


@pytest.fixture
def disk(small_disk: SmallDisk, here: Path) -> SmallDisk:
    """Let the studies lie on the small disk, and nothing else."""
    (here / "studies").symlink_to(small_disk.folder, target_is_directory=True)
    return small_disk


def wait_for(sweep: Sweep, pattern: str) -> None:
    """Wait until the sweep has printed what the pattern matches."""
    sweep.until(lambda: re.search(pattern, sweep.printed()), seconds=300)


def wait_for_checkpoint(sweep: Sweep) -> dict[int, float]:
    """Return the validations told when trial 0 has just told of a new checkpoint."""
    (trial,) = sweep.until(lambda: [t for t in sweep.trials[:1] if t.intermediate_values])
    step = (trial.user_attrs.get("checkpoint") or {}).get("step", 0)
    (trial,) = sweep.until(lambda: sweep.under_way(step + 1))
    return dict(trial.intermediate_values)


def wait_for_more(sweep: Sweep, num_told: int) -> dict[int, float]:
    """Return the validations that trial 0 has told of when they are more than `num_told`."""
    (trial,) = sweep.until(
        lambda: [t for t in sweep.trials[:1] if len(t.intermediate_values) > num_told]
    )
    return dict(trial.intermediate_values)


def test_full_disks_are_waited_out_and_the_budget_is_exact(
    sweep: Start, disk: SmallDisk, here: Path
) -> None:
    # Checkpoints have a test of their own: here they would wait where the database is to.
    it = sweep(*WORDS, "trainer.checkpoint_seconds=3600")
    folder = "studies/s"

    # W&B first, with room that the database can do with: a trial that waits for the database would
    # have no W&B to look at its disk.
    early = wait_for_more(it, 0)
    disk.fill(WANDB_NEEDS_MORE)
    wait_for(
        it,
        rf"trial 0: W&B logging stopped: the disk is full: \S*{folder} needs 0\.3 MB, "
        r"[\d.,]+ (MB|bytes) are free",
    )
    disk.fill()
    wait_for(it, rf"the disk of \S*{folder}/study\.db is full, 0 bytes are free; waiting")
    disk.free()
    wait_for(it, rf"{folder}/study\.db answers again")
    later = wait_for_more(it, len(wait_for_more(it, 0)))

    it.end()
    assert it.process.returncode == 0, it.printed()
    first, second = it.trials
    assert [first.state.name, second.state.name] == ["COMPLETE", "COMPLETE"]
    assert first.user_attrs["attempt"] == second.user_attrs["attempt"] == 1
    assert early.keys() < later.keys()
    for told in (early, later):
        assert first.intermediate_values.items() >= told.items()
    assert len(first.intermediate_values) == len(second.intermediate_values) == EPOCHS
    assert len((here / folder / "trials.csv").read_text().splitlines()) == 1 + 2


@pytest.mark.slow
def test_checkpoints_wait_for_room_and_no_attempt_is_broken(
    sweep: Start, small_disk: SmallDisk, here: Path
) -> None:
    # The trials' files lie on the small disk, the database does not.
    (here / "studies/s").mkdir(parents=True)
    (here / "studies/s/trials").symlink_to(small_disk.folder, target_is_directory=True)
    it = sweep(*WORDS, "logger=none", "trainer.checkpoint_seconds=0.2")
    early = wait_for_checkpoint(it)
    (worker,) = it.workers
    worker.suspend()
    small_disk.fill()
    worker.resume()
    checkpoint = r"studies/s/trials/0000/attempt-1/checkpoint\.pt"
    wait_for(
        it,
        # What is free is the draft's that found no room.
        rf"trial 0: the disk is full: \S*{checkpoint} needs [\d.,]+ (MB|bytes), "
        r"[\d.,]+ (MB|bytes) are free; waiting for space",
    )
    small_disk.free()
    wait_for(it, "trial 0: disk space is available again; resuming")
    it.end()
    assert it.process.returncode == 0, it.printed()
    first, second = it.trials
    assert [first.state.name, second.state.name] == ["COMPLETE", "COMPLETE"]
    assert first.user_attrs["attempt"] == second.user_attrs["attempt"] == 1
    assert first.intermediate_values.items() >= early.items()
    assert len(first.intermediate_values) == len(second.intermediate_values) == EPOCHS
