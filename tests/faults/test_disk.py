"""A sweep whose disk fills up names the path and the free space, and loses nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import SmallDisk
from tests.faults.conftest import Start, Sweep

EPOCHS = 14
WANDB_NEEDS_MORE = 200_000  # bytes
# Learning rates so small that no validation is better than the first: only checkpoints, the
# database and W&B write to the disk.
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
    """Put the studies on the small disk, and nothing else."""
    (here / "studies").symlink_to(small_disk.folder, target_is_directory=True)
    return small_disk


def wait_for(sweep: Sweep, pattern: str) -> None:
    """Wait until the sweep has printed what the pattern matches."""
    sweep.until(lambda: re.search(pattern, sweep.printed()), seconds=300)


def wait_for_checkpoint(sweep: Sweep) -> dict[int, float]:
    """Wait until trial 0 has saved another checkpoint; return its validations."""
    (trial,) = sweep.until(lambda: [t for t in sweep.trials[:1] if t.intermediate_values])
    step = (trial.user_attrs.get("checkpoint") or {}).get("step", 0)
    (trial,) = sweep.until(lambda: sweep.under_way(step + 1))
    return dict(trial.intermediate_values)


def wait_for_more(sweep: Sweep, num_before: int) -> dict[int, float]:
    """Wait until trial 0 has more than `num_before` validations; return them."""
    (trial,) = sweep.until(
        lambda: [t for t in sweep.trials[:1] if len(t.intermediate_values) > num_before]
    )
    return dict(trial.intermediate_values)


def test_a_sweep_waits_for_disk_space_and_keeps_its_budget(
    sweep: Start, disk: SmallDisk, here: Path
) -> None:
    # No checkpoints, which would wait before the database does; the next test is of them.
    it = sweep(*WORDS, "trainer.checkpoint_seconds=3600")
    folder = "studies/s"

    # W&B first, with space that is enough for the database: a trial that waits for the database
    # does not log to W&B.
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
    wait_for(it, rf"{folder}/study\.db is available again")
    later = wait_for_more(it, len(wait_for_more(it, 0)))

    it.end()
    assert it.process.returncode == 0, it.printed()
    first, second = it.trials
    assert [first.state.name, second.state.name] == ["COMPLETE", "COMPLETE"]
    assert first.user_attrs["attempt"] == second.user_attrs["attempt"] == 1
    assert early.keys() < later.keys()
    for validations in (early, later):
        assert first.intermediate_values.items() >= validations.items()
    assert len(first.intermediate_values) == len(second.intermediate_values) == EPOCHS
    assert len((here / folder / "trials.csv").read_text().splitlines()) == 1 + 2


@pytest.mark.slow
def test_without_space_for_checkpoints_trials_go_on_and_no_attempt_fails(
    sweep: Start, small_disk: SmallDisk, here: Path
) -> None:
    # The trials' files are on the small disk, the database is not.
    (here / "studies/s").mkdir(parents=True)
    (here / "studies/s/trials").symlink_to(small_disk.folder, target_is_directory=True)
    it = sweep(*WORDS, "logger=none", "trainer.checkpoint_seconds=0.2")
    early = wait_for_checkpoint(it)
    (worker,) = it.workers
    worker.suspend()
    # With one of two checkpoints deleted, there would be space for the next.
    for path in small_disk.folder.glob("0000/attempt-1/checkpoint.previous.pt"):
        path.unlink()
    small_disk.fill()
    worker.resume()
    checkpoint = r"studies/s/trials/0000/attempt-1/checkpoint\.pt"
    wait_for(
        it,
        # The free bytes are those that the unfinished draft left.
        rf"trial 0: the disk is full: \S*{checkpoint} needs [\d.,]+ (MB|bytes), "
        r"[\d.,]+ (MB|bytes) are free; training continues without new checkpoints",
    )
    later = wait_for_more(it, len(wait_for_more(it, 0)))
    small_disk.free()
    it.end()
    assert it.process.returncode == 0, it.printed()
    first, second = it.trials
    assert [first.state.name, second.state.name] == ["COMPLETE", "COMPLETE"]
    assert first.user_attrs["attempt"] == second.user_attrs["attempt"] == 1
    assert first.intermediate_values.items() >= early.items()
    assert first.intermediate_values.items() >= later.items()
    assert len(first.intermediate_values) == len(second.intermediate_values) == EPOCHS
