"""An entry of the cache is made once, believed only if it is whole, and bounded."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from lightning_modules.cache import Cache
from lightning_modules.error import ConfigError
from lightning_modules.machine import stored as module
from lightning_modules.machine.seal import SEAL
from lightning_modules.machine.store import TOKENIZED, cache_folder, check_cache
from lightning_modules.machine.stored import stored
from lightning_modules.outcome import Stopped
from tests.conftest import wait_until
from tests.shared import ROOT
from tests.training import Listener, tiny_run, train

CONTENT = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def part(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FINESWEEP_CACHE", str(here / "cache"))
    return here / "cache" / TOKENIZED


class Maker:
    """Makes entries, and counts them."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.num_made = 0
        self.content = content
        self.hooks, self.cache = Listener(), Cache()

    def get(self, key: str) -> bytes:
        def make(folder: Path) -> None:
            self.num_made += 1
            (folder / "data").write_bytes(self.content)
            self.made()

        def load(folder: Path) -> bytes:
            return (folder / "data").read_bytes()

        return stored(TOKENIZED, key, make, load, self.hooks, self.cache)

    def made(self) -> None:
        """Be called when an entry is made and not yet in its place."""


def names(part: Path) -> list[str]:
    return sorted(each.name for each in part.iterdir())


def test_an_entry_is_made_once_and_nothing_else_stays(part: Path) -> None:
    maker = Maker()
    assert [maker.get("a"), maker.get("a")] == [CONTENT] * 2
    assert maker.num_made == 1
    assert not maker.hooks.warnings
    assert names(part) == ["a"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a flipped bit": flip,
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "gone": Path.unlink,
}


@pytest.mark.parametrize("name", ["data", SEAL])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_made_again_and_it_says_so(part: Path, name: str, damage: str) -> None:
    maker = Maker()
    maker.get("a")
    DAMAGES[damage](part / "a" / name)
    assert maker.get("a") == CONTENT
    assert maker.num_made == 2
    # An entry without sums is one of an earlier version.
    assert len(maker.hooks.warnings) == (0 if (name, damage) == (SEAL, "gone") else 1)
    assert maker.get("a") == CONTENT
    assert maker.num_made == 2
    assert names(part) == ["a"]


def test_the_least_recently_used_make_room(part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINESWEEP_CACHE_GB", str(2.5 * len(CONTENT) / 1e9))
    maker = Maker()
    for seconds, key in enumerate(("a", "b"), 1000):
        maker.get(key)
        os.utime(part / key / SEAL, (seconds, seconds))
    maker.get("a")
    maker.get("c")
    assert names(part) == ["a", "c"]


def test_what_exceeds_the_bound_is_used_and_not_kept(
    part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINESWEEP_CACHE_GB", "0")
    maker = Maker()
    assert maker.get("a") == CONTENT
    assert names(part) == []
    assert maker.hooks.warnings == [f"0.0 GB for {part} are not kept: FINESWEEP_CACHE_GB=0"]


def test_entries_of_earlier_versions_make_room_too(
    part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINESWEEP_CACHE_GB", str(2.5 * len(CONTENT) / 1e9))
    for name in ("old", "older"):
        (part / name).mkdir(parents=True)
        (part / name / "data").write_bytes(CONTENT)
    os.utime(part / "older", (1000, 1000))
    Maker().get("a")
    assert names(part) == ["a", "old"]


def test_the_entry_of_a_process_that_was_faster_stays(part: Path) -> None:
    class Slower(Maker):
        def made(self) -> None:
            (part / "a").mkdir()
            (part / "a" / "data").write_bytes(b"of the other")

    maker = Slower()
    assert maker.get("a") == CONTENT
    assert maker.num_made == 1
    assert not maker.hooks.warnings
    assert names(part) == ["a"]
    assert (part / "a" / "data").read_bytes() == b"of the other"


@pytest.mark.parametrize("closed", ["a", "a/data", f"a/{SEAL}"])
def test_an_entry_that_only_another_user_may_read_is_done_without(
    closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TemporaryDirectory() as folder:  # that others may enter
        Path(folder).chmod(0o777)
        monkeypatch.setenv("FINESWEEP_CACHE", folder)
        part, maker = Path(folder, TOKENIZED), Maker()
        maker.get("a")
        (part / closed).chmod(0)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)  # root may read everything
        try:
            assert [maker.get("a"), maker.get("a")] == [CONTENT] * 2
        finally:
            os.seteuid(user)
        assert maker.num_made == 3
        assert maker.hooks.warnings == [
            f"the cache {part} cannot be read (Permission denied): each process makes its own; "
            "FINESWEEP_CACHE=DIR names another folder"
        ]


@pytest.mark.parametrize("value", ["many", "-1", "nan", "inf"])
def test_a_bound_that_is_no_number_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINESWEEP_CACHE_GB", value)
    with pytest.raises(ConfigError, match="FINESWEEP_CACHE_GB: must be a number of gigabytes >= 0"):
        check_cache(TOKENIZED)


@pytest.fixture
def read_only(here: Path) -> Iterator[Callable[[Path], None]]:
    """Mount a folder read-only: root may write everywhere else."""
    mounted: list[Path] = []

    def mount(folder: Path) -> None:
        words = ["mount", "--bind", str(folder), str(folder)]
        if not shutil.which("mount") or subprocess.run(words, check=False).returncode:
            pytest.skip("mounting is not permitted here")
        mounted.append(folder)
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_cache_that_cannot_be_written_is_read_and_done_without(
    part: Path, read_only: Callable[[Path], None]
) -> None:
    maker = Maker()
    maker.get("a")
    read_only(cache_folder())
    check_cache(TOKENIZED)
    assert maker.get("a") == CONTENT
    assert maker.num_made == 1
    assert not maker.hooks.warnings
    assert [maker.get("b"), maker.get("c")] == [CONTENT] * 2
    assert maker.hooks.warnings == [
        f"the cache {part} cannot be written (Read-only file system): each process makes its own; "
        "FINESWEEP_CACHE=DIR names another folder"
    ]


def test_drafts_of_killed_processes_are_removed_in_the_end(part: Path) -> None:
    maker = Maker()
    maker.get("a")
    for name in ("old", "new"):
        (part / f".{name}.1-1.draft").mkdir()
    past = time.time() - module.ABANDONED_SECONDS - 1
    os.utime(part / ".old.1-1.draft", (past, past))
    maker.get("b")
    assert names(part) == [".new.1-1.draft", "a", "b"]


MAKES = """
import sys, time
from pathlib import Path
from lightning_modules.cache import Cache
from lightning_modules.hooks import Hooks
from lightning_modules.machine.store import TOKENIZED
from lightning_modules.machine.stored import stored

def make(folder):
    (folder / "data").write_bytes(b"part")
    print("made", flush=True)
    time.sleep(float(sys.argv[1]))
    (folder / "data").write_bytes(b"whole")

load = lambda folder: (folder / "data").read_bytes()
print(stored(TOKENIZED, "a", make, load, Hooks(), Cache()).decode(), flush=True)
"""


def start(seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", MAKES, str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_processes_that_need_the_same_one_wait_for_the_first() -> None:
    processes = [start(1) for _ in range(3)]
    printed = [process.communicate(timeout=60)[0].split() for process in processes]
    assert sorted(printed) == [["made", "whole"], ["whole"], ["whole"]]


def test_a_process_that_is_killed_while_it_writes_leaves_nothing_to_believe(part: Path) -> None:
    killed = start(600)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "made\n"
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert start(0).communicate(timeout=60)[0].split() == ["made", "whole"]
    assert (part / "a/data").read_bytes() == b"whole"


def test_who_waits_can_be_interrupted() -> None:
    first = start(600)
    assert first.stdout is not None
    assert first.stdout.readline() == "made\n"
    maker = Maker()
    maker.hooks.stop = 0  # steps
    with pytest.raises(Stopped, match="another process"):
        maker.get("a")
    first.kill()
    first.wait()
    assert maker.num_made == 0


def test_who_waits_for_too_long_makes_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    first = start(600)
    assert first.stdout is not None
    assert first.stdout.readline() == "made\n"
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.2)
    assert Maker().get("a") == CONTENT
    first.kill()
    wait_until(lambda: first.poll() is not None, "the end of the first process")


def test_who_waits_for_a_process_that_writes_waits_until_it_is_done(
    part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_polls = 15

    class Writing(Listener):
        """Writes, whenever it is told that another process does, and ends that in time."""

        num_waits = 0

        def heartbeat(self, doing: str) -> None:
            assert doing == f"waiting for another process that fills {part}"
            (draft / "data").write_bytes(b"part")
            self.num_waits += 1
            if self.num_waits == num_polls:
                lock.close()

    draft = part / ".a.1-1.draft"
    draft.mkdir(parents=True)
    maker = Maker()
    maker.hooks = hooks = Writing()
    with (part / ".a.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        monkeypatch.setattr(module, "WAIT_SECONDS", num_polls / 2 * module.POLL_SECONDS)
        assert maker.get("a") == CONTENT
    assert hooks.num_waits == num_polls


def test_runs_train_the_same_with_a_damaged_cache_and_without_one(
    here: Path, part: Path, learnable: Path, read_only: Callable[[Path], None]
) -> None:
    run = tiny_run(learnable, "trainer.epochs=1", "data.batch_size=64")
    expected, hooks = train(run, here / "whole").points, Listener()
    for path in part.glob("*/*.arrow"):
        flip(path)
    assert [p.metrics for p in train(run, here / "damaged", hooks).points] == [
        p.metrics for p in expected
    ]
    assert len([text for text in hooks.warnings if "is damaged, and is made again" in text]) == 2
    shutil.rmtree(part)
    read_only(cache_folder())
    hooks, cache = Listener(), Cache()
    for name in ("one", "two"):
        outcome = train(run, here / name, hooks, cache)
        assert [p.metrics for p in outcome.points] == [p.metrics for p in expected]
    assert len([text for text in hooks.warnings if "cannot be written" in text]) == 1
