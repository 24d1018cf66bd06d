"""Checkpoints: if one is damaged, the run resumes from an intact one or starts again."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lightning_modules.callback.best import load_best
from lightning_modules.callback.checkpoint_file import (
    load_checkpoint,
    read_checkpoint,
    state_of,
    write_checkpoint,
)
from lightning_modules.folder import BEST_FILE, CHECKPOINT_FILE, CHECKPOINT_FILES, PREVIOUS_FILE
from lightning_modules.hooks import Hooks
from lightning_modules.machine.file import DiskFull
from lightning_modules.outcome import Ending, Record
from lightning_modules.run import Run
from search.config import build_run, compose
from tests.conftest import SmallDisk
from tests.training import Listener, tiny_run, train

EACH_STEP = ("trainer.checkpoint_seconds=1e-9", "trainer.checkpoint_share=null")


@pytest.fixture
def run(learnable: Path) -> Run:
    words = (
        *("model=tiny", "model.width=16", "model.num_layers=1", "strategy=full", "logger=none"),
        *("data=files", f"data.train={learnable}", "data.batch_size=16", "trainer.epochs=2"),
        *EACH_STEP,
    )
    return build_run(compose("train", list(words)).tree)


class Saves(Hooks):
    """Records each checkpoint; interrupts after `stop` of them, which saves one more."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop = stop
        self.steps: list[int] = []
        self.warnings: list[str] = []

    def on_checkpoint(self, step: int) -> None:
        self.steps.append(step)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def interrupted(self) -> bool:
        return len(self.steps) == self.stop


@pytest.fixture
def stopped(run: Run, here: Path) -> Path:
    """Return a folder with the checkpoints after steps 3 and 4 of 14."""
    hooks = Saves(stop=4)
    outcome = train(run, here / "stopped", hooks)
    assert outcome.ending is Ending.interrupted
    assert hooks.steps == [0, 1, 2, 3, 4]
    assert hooks.warnings == []
    return here / "stopped"


def damage(path: Path, place: int, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "flip":
        content[place] ^= 0xFF
    path.write_bytes(content[:place] if how == "cut" else content)


def places(path: Path, number: int) -> list[int]:
    """Return offsets throughout the file, including its ends and its digest."""
    size = path.stat().st_size
    rng = random.Random(20261121)
    ends = [0, 1, 32, size - 33, size - 32, size - 1]
    return ends + rng.sample(range(2, size - 33), number)


def step_of(folder: Path, warnings: list[str] | None = None) -> int | None:
    checkpoint = load_checkpoint(folder, [].append if warnings is None else warnings.append)
    return checkpoint.record.step if checkpoint else None


def test_the_newest_checkpoint_is_loaded_and_the_previous_one_kept(stopped: Path) -> None:
    warnings: list[str] = []
    assert step_of(stopped, warnings) == 4
    assert warnings == []
    (stopped / CHECKPOINT_FILE).unlink()
    assert step_of(stopped, warnings) == 3
    assert warnings == [f"{CHECKPOINT_FILE} is missing; resuming from {PREVIOUS_FILE}, step 3"]


@pytest.mark.parametrize("how", ["cut", "flip"])
def test_a_checkpoint_damaged_anywhere_falls_back_to_the_previous_one(
    stopped: Path, how: str
) -> None:
    whole = (stopped / CHECKPOINT_FILE).read_bytes()
    for place in places(stopped / CHECKPOINT_FILE, 60):
        (stopped / CHECKPOINT_FILE).write_bytes(whole)
        damage(stopped / CHECKPOINT_FILE, place, how)
        warnings: list[str] = []
        assert step_of(stopped, warnings) == 3, place
        (warning,) = warnings
        assert warning.startswith(f"{CHECKPOINT_FILE} is broken (")
        assert warning.endswith(f"; resuming from {PREVIOUS_FILE}, step 3")
        # Otherwise the next checkpoint would replace the intact file with the broken one.
        assert not (stopped / CHECKPOINT_FILE).exists()


@pytest.mark.parametrize("how", ["cut", "flip"])
def test_a_run_resumes_bit_equal_from_the_previous_checkpoint(
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
        assert len(hooks.warnings) == 1
        assert hooks.steps[0] == 3
        actual = load_file(folder / BEST_FILE)
        assert all(torch.equal(actual[name], tensor) for name, tensor in expected.items())


def test_a_run_with_two_broken_checkpoints_starts_again(run: Run, stopped: Path) -> None:
    for name in CHECKPOINT_FILES:
        damage(stopped / name, 1000, "flip")
    hooks = Saves()
    assert train(run, stopped, hooks).ending is Ending.finished
    assert hooks.steps[0] == 0
    why = "is broken (its content does not match its sha256)"
    assert hooks.warnings == [
        f"{CHECKPOINT_FILE} {why}, {PREVIOUS_FILE} {why}; starting again from the beginning"
    ]


def test_an_empty_folder_has_no_checkpoint_and_no_warning(here: Path) -> None:
    warnings: list[str] = []
    assert step_of(here, warnings) is None
    assert warnings == []


def test_a_checkpoint_with_code_never_runs_it(learnable: Path, here: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (here / "exploded",))

    folder = here / "run"
    folder.mkdir()
    torch.save({"record": Bomb()}, folder / "bomb")
    content = (folder / "bomb").read_bytes()
    (folder / CHECKPOINT_FILE).write_bytes(content + hashlib.sha256(content).digest())
    hooks = Listener()
    outcome = train(tiny_run(learnable, "trainer.epochs=1"), folder, hooks)
    assert outcome.ending is Ending.finished
    assert not (here / "exploded").exists()
    assert hooks.warnings == [
        "checkpoint.pt is broken (it contains more than tensors and plain values), "
        "checkpoint.previous.pt is missing; starting again from the beginning"
    ]


def write_forever(folder: Path, pipe: int) -> None:
    for step in range(10**9):
        network = {"weight": torch.full((50_000,), float(step))}
        state = state_of(Record(step), network, {}, None)
        write_checkpoint(folder / CHECKPOINT_FILE, state, folder / PREVIOUS_FILE)
        os.write(pipe, f"{step}\n".encode())


@pytest.mark.usefixtures("one_thread")  # a forked child has no other threads
def test_a_process_killed_at_any_instant_leaves_an_intact_checkpoint(here: Path) -> None:
    rng = random.Random(20261121)
    for number in range(10):
        folder = here / str(number)
        folder.mkdir()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                write_forever(folder, writing)
            finally:
                os._exit(1)
        os.close(writing)
        with os.fdopen(reading) as lines:
            for _ in range(rng.randrange(3, 40)):
                last = int(lines.readline())
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            rest = lines.read().split()
        last = int(rest[-1]) if rest else last
        checkpoint = load_checkpoint(folder, [].append)
        assert checkpoint is not None
        step = checkpoint.record.step
        assert step in (last, last + 1)
        assert torch.equal(checkpoint.network["weight"], torch.full((50_000,), float(step)))


@pytest.mark.parametrize("crash_after", range(3))
def test_a_crash_between_two_renames_leaves_an_intact_checkpoint(
    here: Path, monkeypatch: pytest.MonkeyPatch, crash_after: int
) -> None:
    path, previous = here / CHECKPOINT_FILE, here / PREVIOUS_FILE

    def write(step: int) -> None:
        write_checkpoint(path, state_of(Record(step), {}, {}, None), previous)

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


def test_torch_can_load_a_checkpoint_file(stopped: Path) -> None:
    state = torch.load(stopped / CHECKPOINT_FILE, weights_only=True)
    assert state["record"]["step"] == 4


def test_the_best_weights_are_written_once(run: Run, here: Path) -> None:
    """Validations after steps 4, 7, 11 and 14 of 14; each of these learns, so each is the best."""
    hooks = Saves(stop=8)
    train(run, here / "run", hooks)
    assert hooks.steps[-2:] == [7, 8]
    newest, before = (read_checkpoint(here / "run" / name) for name in CHECKPOINT_FILES)
    assert (newest.record.step, before.record.step) == (8, 7)
    assert newest.record.best is not None and newest.record.best.step == 7
    names = {path.name for path in (here / "run").glob("checkpoint.*")}
    kept = {"checkpoint.best-7.safetensors", "checkpoint.observed-7.safetensors"}
    assert names == {*CHECKPOINT_FILES, *kept}
    best = here / "run" / BEST_FILE
    assert best.samefile(here / "run/checkpoint.best-7.safetensors")
    # After the validation the trained tensors are the best ones; a step later they are others.
    same = load_file(best)
    assert all(torch.equal(before.network[name], tensor) for name, tensor in same.items())
    assert not all(torch.equal(newest.network[name], tensor) for name, tensor in same.items())
    size, previous = ((here / "run" / name).stat().st_size for name in CHECKPOINT_FILES)
    assert size - previous > 0.9 * best.stat().st_size


def test_a_run_resumes_bit_equal_when_it_stopped_at_its_best_validation(
    run: Run, here: Path
) -> None:
    train(run, here / "whole")
    train(run, here / "run", Saves(stop=7))
    (here / "run" / BEST_FILE).unlink()  # those of a later validation would be restored as well
    assert train(run, here / "run").ending is Ending.finished
    expected, actual = load_file(here / "whole" / BEST_FILE), load_file(here / "run" / BEST_FILE)
    assert all(torch.equal(actual[name], tensor) for name, tensor in expected.items())


def test_a_checkpoint_whose_best_weights_are_damaged_is_broken(run: Run, here: Path) -> None:
    train(run, here / "run", Saves(stop=8))
    damage(here / "run/checkpoint.best-7.safetensors", 1000, "flip")
    warnings: list[str] = []
    assert step_of(here / "run", warnings) is None
    why = "the content of checkpoint.best-7.safetensors does not match its sha256"
    assert warnings == [
        f"{CHECKPOINT_FILE} is broken ({why}), {PREVIOUS_FILE} is broken ({why}); "
        "starting again from the beginning"
    ]


def test_a_checkpoint_of_an_earlier_version_holds_the_best_weights(run: Run, here: Path) -> None:
    train(run, here / "whole")
    folder = here / "run"
    train(run, folder, Saves(stop=8))
    checkpoint, best = read_checkpoint(folder / CHECKPOINT_FILE), load_best(folder)
    assert best is not None
    old = state_of(checkpoint.record, checkpoint.network, checkpoint.optimizer, None)
    old["best"] = {"weights": dict(best.weights), "observed": dict(best.observed)}
    for path in folder.glob("*.*"):
        path.unlink()
    write_checkpoint(folder / CHECKPOINT_FILE, old, folder / PREVIOUS_FILE)
    hooks = Saves()
    assert train(run, folder, hooks).ending is Ending.finished
    assert hooks.steps[0] == 8
    expected, actual = load_file(here / "whole" / BEST_FILE), load_file(folder / BEST_FILE)
    assert all(torch.equal(actual[name], tensor) for name, tensor in expected.items())


def test_without_space_for_a_third_checkpoint_the_oldest_is_deleted_first(
    small_disk: SmallDisk,
) -> None:
    path, previous = (small_disk.folder / name for name in CHECKPOINT_FILES)

    def write(step: int) -> None:
        network = {"weight": torch.full((250_000,), float(step))}  # 1 MB
        write_checkpoint(path, state_of(Record(step), network, {}, None), previous)

    write(1)
    write(2)
    small_disk.fill(num_free=500_000)
    write(3)
    assert [read_checkpoint(each).record.step for each in (path, previous)] == [3, 2]
    previous.unlink()
    small_disk.fill(num_free=500_000)
    with pytest.raises(DiskFull):
        write(4)
    assert read_checkpoint(path).record.step == 3
