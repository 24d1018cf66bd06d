"""On a really full disk a run trains without new checkpoints, and waits for what it needs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lightning_modules.callback.checkpoint_file import load_checkpoint
from lightning_modules.fit import fit
from lightning_modules.folder import BEST_FILE
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity
from lightning_modules.machine import disk
from lightning_modules.machine.file import DiskFull, replacing, write_json, write_text
from lightning_modules.outcome import Ending, Outcome
from lightning_modules.run import Run
from search.config import build_run, compose
from tests.conftest import SmallDisk
from tests.training import Listener

EACH_STEP = ("trainer.checkpoint_seconds=1e-9", "trainer.checkpoint_share=null")


@pytest.fixture
def make_run(learnable: Path) -> Callable[..., Run]:
    def make(*words: str) -> Run:
        given = (
            *("model=tiny", "model.width=32", "model.num_layers=1", "strategy=full"),
            *("data=files", f"data.train={learnable}", "data.batch_size=16", "logger=none"),
        )
        return build_run(compose("train", [*given, *words]).tree)

    return make


class OnFullDisk(Hooks):
    """Fill the disk after step `fill` and, once the run waits, free it or stop the run."""

    def __init__(self, disk: SmallDisk, fill: int, *, stop: bool = False) -> None:
        self.disk, self.fill, self.stop = disk, fill, stop
        self.notes: list[str] = []
        self.doings: list[str] = []
        self.is_stopping = False

    def on_step(self, step: int, num_steps: int) -> None:
        if step == self.fill:
            self.disk.fill()

    def warn(self, text: str) -> None:
        self.notes.append(text)
        if "waiting for space" in text:
            if self.stop:
                self.is_stopping = True
            else:
                threading.Timer(1.0, self.disk.free).start()

    def heartbeat(self, doing: str) -> None:
        self.doings.append(doing)

    def interrupted(self) -> bool:
        return self.is_stopping


def train(run: Run, folder: Path, hooks: Hooks | None = None) -> Outcome:
    folder.mkdir(parents=True, exist_ok=True)
    return fit(run, folder, Identity("test", None, folder), hooks)


def assert_same_best(one: Path, other: Path) -> None:
    best, again = load_file(one / BEST_FILE), load_file(other / BEST_FILE)
    assert all(torch.equal(tensor, again[name]) for name, tensor in best.items())


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("words", "fill", "file"),
    [
        (("trainer.validations_per_epoch=1",), 7, "observed.safetensors"),
        ((), 0, "labels.json"),
    ],
)
def test_a_run_waits_for_disk_space_and_then_finishes_the_same(
    make_run: Callable[..., Run],
    here: Path,
    small_disk: SmallDisk,
    words: tuple[str, ...],
    fill: int,
    file: str,
) -> None:
    run = make_run("trainer.epochs=1", *words)
    train(run, here / "whole")
    folder = small_disk.folder / "run"
    folder.mkdir()
    hooks = OnFullDisk(small_disk, fill)
    hooks.on_step(0, 0)
    outcome = train(run, folder, hooks)
    assert outcome.ending is Ending.finished
    full, again = hooks.notes
    assert full.startswith(f"the disk is full: {folder / file} needs ")
    assert full.endswith("0 bytes are free; waiting for space")
    assert again == "disk space is available again; resuming"
    assert "waiting for disk space" in hooks.doings
    expected = {path.name for path in (here / "whole").iterdir()}
    assert {path.name for path in folder.iterdir()} == expected
    assert_same_best(here / "whole", folder)
    assert json.loads((folder / "outcome.json").read_text())["ending"] == "finished"


@pytest.mark.parametrize(
    ("per_epoch", "fill", "saved", "until", "file"),
    [
        # After step 1 there is one checkpoint, and nothing to delete in its favour.
        (1, 1, [0], 4, "checkpoint.pt"),
        # The best validation, after step 4, stays in memory.
        (2, 3, [0, 1, 2, 3], 6, "observed.safetensors"),
    ],
)
def test_a_run_trains_without_checkpoints_while_the_disk_is_full(
    make_run: Callable[..., Run],
    here: Path,
    small_disk: SmallDisk,
    per_epoch: int,
    fill: int,
    saved: list[int],
    until: int,
    file: str,
) -> None:
    run = make_run("trainer.epochs=1", f"trainer.validations_per_epoch={per_epoch}", *EACH_STEP)
    train(run, here / "whole")

    class FillAndFree(OnFullDisk):
        def __init__(self) -> None:
            super().__init__(small_disk, fill)
            self.saved: list[int] = []

        def on_step(self, step: int, num_steps: int) -> None:
            super().on_step(step, num_steps)
            if step == until:
                self.disk.free()

        def on_checkpoint(self, step: int) -> None:
            self.saved.append(step)

    hooks, folder = FillAndFree(), small_disk.folder / "run"
    outcome = train(run, folder, hooks)
    assert outcome.ending is Ending.finished
    last = outcome.points[-1].step
    assert hooks.saved == [*saved, *range(until, last)]
    full, again = hooks.notes
    assert full.startswith(f"the disk is full: {folder / file} needs ")
    assert full.endswith("0 bytes are free; training continues without new checkpoints")
    assert again == "disk space is available again; checkpoints are saved again"
    assert_same_best(here / "whole", folder)


def test_a_run_interrupted_on_a_full_disk_keeps_its_checkpoint(
    make_run: Callable[..., Run], here: Path, small_disk: SmallDisk
) -> None:
    run = make_run("trainer.epochs=1", "trainer.validations_per_epoch=1", *EACH_STEP)

    class StopLate(OnFullDisk):
        def on_step(self, step: int, num_steps: int) -> None:
            super().on_step(step, num_steps)
            self.is_stopping = step == 3

    folder = small_disk.folder / "run"
    outcome = train(run, folder, StopLate(small_disk, fill=1, stop=True))
    assert outcome.ending is Ending.interrupted
    assert outcome.reason.startswith(
        "interrupted, and checkpoint.pt could not be written: the disk is full: "
    )
    assert not list(folder.glob(".*"))
    saved = load_checkpoint(folder, pytest.fail)
    assert saved is not None and saved.record.step == 0
    small_disk.free()
    train(run, here / "whole")
    assert train(run, folder).ending is Ending.finished
    assert_same_best(here / "whole", folder)


def test_a_run_says_each_minute_that_it_waits_and_ends_after_an_hour(
    make_run: Callable[..., Run],
    small_disk: SmallDisk,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter(range(0, 100_000, 10))  # each look at the clock comes 10 s after the last one
    monkeypatch.setattr(disk, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(disk, "sleep", lambda seconds: None)
    run, folder = make_run("trainer.epochs=1"), small_disk.folder / "run"
    folder.mkdir()
    small_disk.fill()
    notes = Listener()
    with pytest.raises(disk.StillFull) as ended:
        train(run, folder, notes)
    first, second, *_, last = notes.warnings
    full = f"the disk is full: {folder / 'labels.json'} needs "
    assert all(note.startswith(full) for note in notes.warnings)
    assert first.endswith("; waiting for space")
    assert second.endswith("; waiting for space since 1 min")
    assert last.endswith(" min")
    assert 40 <= len(notes.warnings) <= 60
    line, rule = str(ended.value), "its disk must have space within 60 min"
    assert line.startswith(f"{folder / 'labels.json'}: {rule}, got ")
    assert line.endswith("Free some, and run the same command to continue.")


def test_a_run_without_space_for_its_outcome_is_interrupted(
    make_run: Callable[..., Run], small_disk: SmallDisk
) -> None:
    class FillLate(OnFullDisk):
        def heartbeat(self, doing: str) -> None:
            if doing == "closing the log":
                self.disk.fill()

    folder = small_disk.folder / "run"
    outcome = train(make_run("trainer.epochs=1"), folder, FillLate(small_disk, -1, stop=True))
    assert outcome.ending is Ending.interrupted
    assert outcome.reason.startswith("interrupted, and outcome.json could not be written")
    assert outcome.best is not None


@pytest.mark.thorough
def test_a_full_disk_for_the_token_cache_is_tolerated(
    make_run: Callable[..., Run],
    here: Path,
    small_disk: SmallDisk,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FINESWEEP_CACHE", str(small_disk.folder / "cache"))
    (small_disk.folder / "cache/tokenized").mkdir(parents=True)
    small_disk.fill()
    hooks = OnFullDisk(small_disk, -1)
    assert train(make_run("trainer.epochs=1"), here / "run", hooks).ending is Ending.finished
    assert hooks.notes[0].startswith(f"the disk is full: {small_disk.folder / 'cache'}")
    assert not list((small_disk.folder / "cache/tokenized").glob(".*"))


def test_full_disk_errors_from_libraries_are_recognized(small_disk: SmallDisk) -> None:
    small_disk.fill(num_free=100_000)
    big = torch.ones(1_000_000)
    path = small_disk.folder / "a"
    writers: list[Callable[[Path], object]] = [
        lambda draft: save_file({"big": big}, draft),
        lambda draft: draft.write_bytes(bytes(4_000_000)),
    ]
    for write in writers:
        with pytest.raises(DiskFull) as caught, replacing(path) as draft:
            write(draft)
        assert caught.value.path == path
        assert 90_000 < caught.value.free_bytes <= 100_000
        assert sorted(each.name for each in small_disk.folder.iterdir()) == ["filling"]


def test_a_file_that_does_not_fit_is_not_started(small_disk: SmallDisk) -> None:
    path = small_disk.folder / "a.txt"
    write_text(path, "old")
    small_disk.fill(num_free=1_000_000)
    with pytest.raises(DiskFull, match=r"needs 2\.0 MB, .* MB are free"):
        write_text(path, "x" * 2_000_000)
    assert path.read_text() == "old"
    write_json(path, {"new": True})
    assert json.loads(path.read_text()) == {"new": True}
