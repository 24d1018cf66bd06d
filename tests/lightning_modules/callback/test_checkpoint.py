"""Checkpoints: whatever happened to one, the run goes on from a whole one or begins anew."""

from __future__ import annotations

import os
import random
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lightning_modules.callback.checkpoint import load_checkpoint, write_checkpoint
from lightning_modules.fit import fit
from lightning_modules.folder import BEST_FILE, CHECKPOINT_FILE, CHECKPOINT_FILES, PREVIOUS_FILE
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity
from lightning_modules.outcome import Ending, Outcome, Record
from lightning_modules.run import Run
from search.config import build_run, compose


@pytest.fixture
def run(learnable: Path) -> Run:
    words = (
        *("model=tiny", "model.width=16", "model.num_layers=1", "strategy=full", "logger=none"),
        *("data=files", f"data.train={learnable}", "data.batch_size=16", "trainer.epochs=2"),
        "trainer.checkpoint_seconds=1e-9",
    )
    return build_run(compose("train", list(words)).tree)


class Saves(Hooks):
    """Hears of each checkpoint and stops, with another, after so many."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop = stop
        self.steps: list[int] = []
        self.notes: list[str] = []

    def on_checkpoint(self, step: int) -> None:
        self.steps.append(step)

    def warn(self, text: str) -> None:
        self.notes.append(text)

    def interrupted(self) -> bool:
        return len(self.steps) == self.stop


def train(run: Run, folder: Path, hooks: Hooks | None = None) -> Outcome:
    folder.mkdir(parents=True, exist_ok=True)
    return fit(run, folder, Identity("test", None, folder), hooks)


@pytest.fixture
def stopped(run: Run, here: Path) -> Path:
    """Leave checkpoints after steps 3 and 4 of 14."""
    hooks = Saves(stop=4)
    outcome = train(run, here / "stopped", hooks)
    assert outcome.ending is Ending.interrupted
    assert hooks.steps == [0, 1, 2, 3, 4]
    assert hooks.notes == []
    return here / "stopped"


def damage(path: Path, place: int, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "flip":
        content[place] ^= 0xFF
    path.write_bytes(content[:place] if how == "cut" else content)


def places(path: Path, number: int) -> list[int]:
    """Return offsets all over the file, among them its ends and its sum."""
    size = path.stat().st_size
    chance = random.Random(20261121)
    ends = [0, 1, 32, size - 33, size - 32, size - 1]
    return ends + chance.sample(range(2, size - 33), number)


def step_of(folder: Path, notes: list[str] | None = None) -> int | None:
    saved = load_checkpoint(folder, [].append if notes is None else notes.append)
    return saved.record.step if saved else None


def test_the_newest_is_taken_and_the_one_before_it_kept(stopped: Path) -> None:
    notes: list[str] = []
    assert step_of(stopped, notes) == 4
    assert notes == []
    (stopped / CHECKPOINT_FILE).unlink()
    assert step_of(stopped, notes) == 3
    assert notes == [f"{CHECKPOINT_FILE} is missing: the run goes on from {PREVIOUS_FILE}, step 3"]


@pytest.mark.parametrize("how", ["cut", "flip"])
def test_damage_at_any_place_is_seen_and_the_one_before_taken(stopped: Path, how: str) -> None:
    whole = (stopped / CHECKPOINT_FILE).read_bytes()
    for place in places(stopped / CHECKPOINT_FILE, 60):
        (stopped / CHECKPOINT_FILE).write_bytes(whole)
        damage(stopped / CHECKPOINT_FILE, place, how)
        notes: list[str] = []
        assert step_of(stopped, notes) == 3, place
        (note,) = notes
        assert note.startswith(f"{CHECKPOINT_FILE} is broken (")
        assert note.endswith(f"the run goes on from {PREVIOUS_FILE}, step 3")
        # Else the next checkpoint would put it in the place of the whole one.
        assert not (stopped / CHECKPOINT_FILE).exists()


@pytest.mark.parametrize("how", ["cut", "flip"])
def test_a_run_goes_on_bit_equal_from_the_one_before(
    run: Run, stopped: Path, here: Path, how: str
) -> None:
    train(run, here / "whole")
    expected = load_file(here / "whole" / BEST_FILE)
    for place in (7, 20_000):
        folder = here / f"{how}-{place}"
        shutil.copytree(stopped, folder)
        damage(folder / CHECKPOINT_FILE, place, how)
        hooks = Saves()
        assert train(run, folder, hooks).ending is Ending.finished
        assert len(hooks.notes) == 1
        assert hooks.steps[0] == 3
        found = load_file(folder / BEST_FILE)
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_with_both_broken_it_begins_anew(run: Run, stopped: Path) -> None:
    for name in CHECKPOINT_FILES:
        damage(stopped / name, 1000, "flip")
    hooks = Saves()
    assert train(run, stopped, hooks).ending is Ending.finished
    assert hooks.steps[0] == 0
    why = "is broken (its content and its sha256 differ)"
    assert hooks.notes == [f"{CHECKPOINT_FILE} {why}, {PREVIOUS_FILE} {why}: the run begins anew"]


def test_an_empty_folder_is_no_news(here: Path) -> None:
    notes: list[str] = []
    assert step_of(here, notes) is None
    assert notes == []


def write_for_ever(folder: Path, told: int) -> None:
    for step in range(10**9):
        network = {"weight": torch.full((50_000,), float(step))}
        record = Record(step).as_dict()
        state = {"record": record, "network": network, "best": None, "optimizer": {}}
        write_checkpoint(folder / CHECKPOINT_FILE, state, folder / PREVIOUS_FILE)
        os.write(told, f"{step}\n".encode())


@pytest.mark.usefixtures("one_thread")  # a fork lacks the others
def test_killed_at_any_instant_it_leaves_a_whole_one(here: Path) -> None:
    chance = random.Random(20261121)
    for number in range(10):
        folder = here / str(number)
        folder.mkdir()
        reading, told = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                write_for_ever(folder, told)
            finally:
                os._exit(1)
        os.close(told)
        with os.fdopen(reading) as lines:
            for _ in range(chance.randrange(3, 40)):
                last = int(lines.readline())
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            rest = lines.read().split()
        last = int(rest[-1]) if rest else last
        saved = load_checkpoint(folder, [].append)
        assert saved is not None
        assert saved.record.step in (last, last + 1)
        assert torch.equal(saved.network["weight"], torch.full((50_000,), float(saved.record.step)))


@pytest.mark.parametrize("crash_after", range(3))
def test_a_crash_between_two_renames_leaves_a_whole_one(
    here: Path, monkeypatch: pytest.MonkeyPatch, crash_after: int
) -> None:
    path, previous = here / CHECKPOINT_FILE, here / PREVIOUS_FILE

    def write(step: int) -> None:
        record = Record(step).as_dict()
        state = {"record": record, "network": {}, "best": None, "optimizer": {}}
        write_checkpoint(path, state, previous)

    write(1)
    write(2)
    replace, num_left = Path.replace, crash_after

    class Crash(BaseException):
        pass

    def crash(self: Path, target: Path) -> Path:
        nonlocal num_left
        if num_left == 0:
            raise Crash
        num_left -= 1
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", crash)
        if crash_after < 2:
            with pytest.raises(Crash):
                write(3)
        else:
            write(3)
    assert step_of(here) == (3 if crash_after == 2 else 2)
    write(4)
    assert step_of(here) == 4


def test_it_is_a_file_that_torch_reads(stopped: Path) -> None:
    saved = torch.load(stopped / CHECKPOINT_FILE, weights_only=True)
    assert saved["record"]["step"] == 4
