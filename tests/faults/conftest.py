"""Studies under real faults: killed processes, signals, full disks, restarted servers."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from tests.conftest import command, wait_until

# One thread per worker, short trials, and nothing that the faults do not need.
SMALL = (
    "model=tiny",
    "strategy=full",
    "logger=none",
    "trainer.precision=fp32",
    "trainer.epochs=2",
    "trainer.checkpoint_seconds=0.2",
    "trainer.checkpoint_share=null",
    "data.batch_size=16",
    "search/pruner=none",
    "search/space=none",
    "optimizer.lr=tag(log,interval(1e-4,1e-2))",
    "search.lease_seconds=3",
)


@dataclass
class Sweep:
    """A running sweep in a process of its own, and its study as stock Optuna reads it."""

    process: subprocess.Popen[str]
    folder: Path
    name: str
    storage: str
    _parts: list[str] = field(default_factory=list)
    _read: RDBStorage | None = None

    def printed(self) -> str:
        """Return what the sweep has printed so far, without waiting for more."""
        assert self.process.stdout is not None
        if not self.process.stdout.closed:
            descriptor = self.process.stdout.fileno()
            os.set_blocking(descriptor, False)
            with suppress(BlockingIOError):
                while part := os.read(descriptor, 65536):
                    self._parts.append(part.decode())
        return "".join(self._parts)

    @property
    def workers(self) -> list[psutil.Process]:
        """The living worker processes, including those of other sweeps on the study."""
        return self._processes(forkserver=False)

    @property
    def forkservers(self) -> list[psutil.Process]:
        """The processes that workers are forked from; none if there is a GPU."""
        return self._processes(forkserver=True)

    def _processes(self, *, forkserver: bool) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            line = " ".join(process.info["cmdline"] or ())
            mine = "search.worker" in line and f"/{self.name} " in f"{line} "
            if mine and process.info["status"] != psutil.STATUS_ZOMBIE:
                with suppress(psutil.NoSuchProcess, FileNotFoundError):
                    # A forkserver has its workers' command line, but reads from a socket.
                    is_forkserver = "socket:" in os.fspath(
                        Path(f"/proc/{process.pid}/fd/0").readlink()
                    )
                    if is_forkserver == forkserver and Path(process.cwd()) == self.folder:
                        found.append(process)
        return found

    @property
    def trials(self) -> list[optuna.trial.FrozenTrial]:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        if self.storage.startswith("sqlite:///") and not Path(self.storage[10:]).is_file():
            return []  # Optuna would create it before the sweep does
        try:
            # Opening a storage takes 30 times as long as reading it, and tests look all the time.
            # This class caches no trial, and without a pool it holds no connection.
            if self._read is None:
                self._read = RDBStorage(self.storage, engine_kwargs={"poolclass": NullPool})
            return self._read.get_all_trials(self._read.get_study_id_from_name(self.name))
        except (
            KeyError,
            SQLAlchemyError,
            StorageInternalError,
        ):  # not yet created or reachable
            return []

    def until(self, holds: Callable[[], Any], seconds: float = 120) -> Any:
        """Wait for a condition; fail with the sweep's output if it ends first, or after a time."""

        def look() -> Any:
            has_ended = self.process.poll() is not None
            value = holds()
            assert value or not has_ended, "the sweep ended before"
            return value

        try:
            return wait_until(look, "a state of the sweep", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{self.end(signal.SIGKILL)}") from None

    def under_way(self, step: int = 1) -> list[optuna.trial.FrozenTrial]:
        """Return the running trials that have saved a checkpoint at `step` or later."""
        running = [trial for trial in self.trials if trial.state.name == "RUNNING"]
        return [t for t in running if (t.user_attrs.get("checkpoint") or {}).get("step", 0) >= step]

    @property
    def ended(self) -> dict[int, datetime | None]:
        """When the trials that have ended did so, by number."""
        return {t.number: t.datetime_complete for t in self.trials if t.state.is_finished()}

    def follow_up(self, kind: str) -> Sweep:
        """Return the same sweep with a study that follows its own: `confirm` or `certify`."""
        return replace(self, name=f"{self.name}.{kind}")

    def end(self, number: int | None = None, seconds: float = 300) -> str:
        """Send a signal, if one is given; return all that was printed until the end."""
        if number is not None and self.process.poll() is None:
            self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=seconds)
        self._parts.append(output)
        return "".join(self._parts)


Start = Callable[..., Sweep]


@pytest.fixture
def sweep(here: Path) -> Iterator[Start]:
    """Start `finesweep sweep study=s ...` in the test's folder; kill what is left of it."""
    started: list[Sweep] = []

    def start(*words: str, name: str = "s", storage: str | None = None, **more: str) -> Sweep:
        environment = {**os.environ, **more}
        if storage:
            environment["FINESWEEP_STORAGE"] = storage
        process = subprocess.Popen(
            command("sweep", f"study={name}", *SMALL, *words),
            cwd=here,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        url = storage or f"sqlite:///{here}/studies/{name}/study.db"
        started.append(Sweep(process, here, name, url))
        return started[-1]

    yield start
    for each in started:
        for process in [each.process, *each.workers, *each.forkservers]:
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                process.kill()
        each.process.wait()


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest) -> str | None:
    """Return the URL of an empty database on a real server, or None for SQLite."""
    if request.param == "sqlite":
        return None
    url: str = request.getfixturevalue("postgres").new_database()
    return url


def kill_at_random(sweep: Sweep, num_kills: int, chance: random.Random, pause: float) -> int:
    """SIGKILL workers at random moments until `num_kills` were killed or the sweep has ended."""
    killed = 0
    # The only wait for a time: the moment of a kill is random.
    while killed < num_kills and sweep.process.poll() is None:
        time.sleep(chance.uniform(0, 2 * pause))
        victims = sweep.workers
        if victims:
            with suppress(psutil.NoSuchProcess):
                chance.choice(victims).kill()
                killed += 1
    return killed


def kill_in_follow_up(sweep: Sweep, runs: Sweep, num_ended: int) -> dict[int, datetime | None]:
    """Kill a worker of a follow-up study, and the sweep itself once some more of its runs ended.

    Args:
        sweep: The sweep.
        runs: The same with its follow-up study (`Sweep.follow_up`), of which one worker trains.
        num_ended: How many runs have ended at least when the sweep is killed, while another trains.

    Returns: When they ended, by number.
    """
    sweep.until(runs.under_way, 600)
    (worker,) = runs.workers
    worker.kill()  # the sweep replaces it
    sweep.until(lambda: any(map(ends_of, runs.trials)), 600)
    sweep.until(lambda: len(runs.ended) >= num_ended, 600)
    sweep.until(runs.under_way, 600)
    sweep.process.kill()
    sweep.end()
    ended = runs.ended
    assert num_ended <= len(ended) < len(runs.trials)
    return ended


def ask(*words: str, code: int = 0, **more: str) -> str:
    """Run a command in the test's folder and return what it prints."""
    done = subprocess.run(
        command(*words),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **more},
        timeout=300,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def status(storage: str | None = None, name: str = "s") -> Mapping[str, Any]:
    more = {"FINESWEEP_STORAGE": storage} if storage else {}
    values: Mapping[str, Any] = json.loads(ask("status", f"study={name}", "--json", **more))
    return values


def ends_of(trial: optuna.trial.FrozenTrial) -> Sequence[Mapping[str, Any]]:
    ends: Sequence[Mapping[str, Any]] = trial.user_attrs.get("attempts", ())
    return ends
