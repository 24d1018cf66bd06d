"""The two sides of the reliability benchmark, finesweep and stock Optuna, with one interface."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import optuna
from faults.worker import GRACE_SECONDS, Toy, stock_storage
from optuna.trial import FrozenTrial

from search.config import compose
from search.plan.build import build_plan
from search.storage.add import add_trials
from search.storage.failure import FailureKind
from search.storage.location import VARIABLE, study_folder
from search.storage.retry import StorageGone
from search.study.heal import end_worker, heal
from search.study.open import load_study
from search.study.prepare import check_study, prepare_study
from search.study.suggest import waiting_trial

SIDES = ("finesweep", "stock")
LRS = (1e-4, 1e-3, 1e-2)
BATCH_SIZES = (8, 16)
WORDS = (
    *("model=tiny", "strategy=full", "logger=none", "search/space=none", "search/pruner=none"),
    f"search.lease_seconds={GRACE_SECONDS:g}",
)
HUNG_SECONDS = 5.0
WORKER = Path(__file__).with_name("worker.py")


@dataclass
class Trials:
    """A study of one side, and the logs of its workers.

    Attributes:
        side: `finesweep` or `stock`.
        folder: Its files.
        url: Its database.
        budget: The number of trials to finish.
        seed: The sampler's seed.
        toy: The training of its workers.
        is_finite: Whether the space has 6 combinations instead of an interval.
        num_queued: Trials that wait from the start, each with a different learning rate.

    """

    side: str
    folder: Path
    url: str | None
    budget: int
    seed: int = 0
    toy: Toy = field(default_factory=Toy)
    is_finite: bool = False
    num_queued: int = 0
    name: str = "s"
    has_engine: bool = True

    def __post_init__(self) -> None:
        root = self.folder
        root.mkdir(parents=True, exist_ok=True)
        self.log = Path(f"{self.folder}-log")
        queued = [10 ** (-4 + 2 * number / 997) for number in range(self.num_queued)]
        if self.side == "stock":
            self._make_stock(queued)
        else:
            self._make_finesweep(queued)

    def _make_stock(self, queued: Sequence[float]) -> None:
        self.url_of_database = self.url or f"sqlite:///{self.folder}/study.db"
        storage = stock_storage(self.url_of_database)
        study = optuna.create_study(study_name=self.name, storage=storage, direction="maximize")
        for lr in queued:
            study.enqueue_trial({"lr": lr})
        storage.engine.dispose()

    def _make_finesweep(self, queued: Sequence[float]) -> None:
        lr = "tag(log,interval(1e-4,1e-2))"
        words = [*WORDS, f"study={self.name}", f"search.num_trials={self.budget}"]
        words.append(f"seed={self.seed}")
        if self.is_finite:
            lr = f"choice({','.join(map(str, LRS))})"
            words.append(f"data.batch_size=choice({','.join(map(str, BATCH_SIZES))})")
        with self._environment():
            plan = build_plan(compose("sweep", [*words, f"optimizer.lr={lr}"]))
            self.folder = study_folder(self.folder, self.name)
            study = prepare_study(plan, self.folder, check_study(plan, self.folder))
            self.url_of_database = study.tables.url
            templates = [waiting_trial(plan.space, {"optimizer.lr": lr}) for lr in queued]
            add_trials(study.tables, study.id, self.budget, templates)
            study.tables.engine.dispose()

    @contextmanager
    def _environment(self) -> Iterator[None]:
        os.environ.pop(VARIABLE, None)
        if self.url:
            os.environ[VARIABLE] = self.url
        try:
            yield
        finally:
            os.environ.pop(VARIABLE, None)

    def job(self, do: str = "work", **more: Any) -> dict[str, Any]:
        """Return a job for one of its workers."""
        space: dict[str, Any] = {"lr": list(LRS), "batch_size": list(BATCH_SIZES)}
        return {
            "do": do,
            "name": self.name,
            "folder": str(self.folder),
            "database": self.url is not None,
            "url": self.url_of_database,
            "log": str(self.log),
            "toy": asdict(self.toy),
            "seed": self.seed,
            "num_trials": self.budget,
            "space": space if self.is_finite else {"lr": None},
            "has_engine": self.has_engine,
            **more,
        }

    def report_death(self, pid: int, reason: str) -> None:
        """Act as the engine of a dead worker: finesweep's engine reports how it ended."""
        if self.side == "finesweep":
            joined = [e["worker"] for e in self.events if (e["event"], e["pid"]) == ("joined", pid)]
            # If the storage does not answer, the next process that opens the study heals it.
            with suppress(StorageGone), self._opened() as study:
                for worker in joined:
                    end_worker(study, worker, FailureKind.killed, reason)

    def look(self) -> None:
        """Inspect the study as a user would: `finesweep status`, `optuna trials`."""
        if self.side == "finesweep":
            with self._opened() as study:
                heal(study)
        else:
            _ = self.all

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        with self._environment():
            study = load_study(self.folder)
            try:
                yield study
            finally:
                study.tables.engine.dispose()

    @property
    def all(self) -> list[FrozenTrial]:
        """All trials, read from the database by stock Optuna."""
        storage = optuna.storages.RDBStorage(self.url_of_database)
        try:
            return optuna.load_study(study_name=self.name, storage=storage).get_trials()
        finally:
            storage.engine.dispose()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events in the workers' logs, sorted by time."""
        events = []
        for path in self.log.glob("*.jsonl"):
            lines = path.read_text().split("\n")[:-1]  # a killed worker may leave half a line
            events += [json.loads(line) for line in lines]
        return sorted(events, key=lambda event: float(event["time"]))

    def of(self, name: str) -> list[dict[str, Any]]:
        """Return the events of one kind."""
        return [event for event in self.events if event["event"] == name]


class Worker:
    """A worker process."""

    def __init__(self, side: str, log: Path) -> None:
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-P", str(WORKER), side],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        self._is_ready = False

    @property
    def pid(self) -> int:
        return self.process.pid

    def give(self, job: Mapping[str, Any], is_last: bool = False) -> None:
        """Send it a job; after the last one it ends."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        if is_last:
            self.process.stdin.close()

    def wait_ready(self) -> None:
        if not self._is_ready:
            assert self.process.stdout is not None
            assert self.process.stdout.readline() == "ready\n", self._log.read_text()
            self._is_ready = True

    def answer(self) -> Any:
        """Wait for its answer.

        Raises:
            EOFError: It has died.

        """
        self.wait_ready()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line or "died" in json.loads(line):
            raise EOFError(self._log)
        return json.loads(line)["answer"]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Pool:
    """Worker processes that do one job after another; all start a race at the same moment."""

    def __init__(self, side: str, num_workers: int, log: Path) -> None:
        self.workers = [Worker(side, log) for _ in range(num_workers)]
        for worker in self.workers:
            worker.wait_ready()
        self._side, self._path = side, log

    def do(self, job: Mapping[str, Any], delay: float = 1.0) -> tuple[list[Any], int]:
        """Let all do a job at once; return their answers, and how many died."""
        start, answers, num_died = time.time() + delay, [], 0
        for worker in self.workers:
            worker.give({**job, "start": start})
        for place, worker in enumerate(self.workers):
            try:
                answers.append(worker.answer())
            except EOFError:
                num_died += 1
                worker.kill()
                self.workers[place] = Worker(self._side, self._path)
                self.workers[place].wait_ready()
        return answers, num_died

    def end(self) -> None:
        for worker in self.workers:
            worker.kill()


class Crew:
    """Workers of one study; any that dies is replaced."""

    def __init__(self, trials: Trials, num_workers: int) -> None:
        self._trials = trials
        self._output = trials.log.with_suffix(".stderr")
        self.workers = [self.start() for _ in range(num_workers)]
        self.num_died = self.num_hung = 0

    def start(self) -> Worker:
        worker = Worker(self._trials.side, self._output)
        worker.give(self._trials.job(), is_last=True)
        return worker

    def at_work(self) -> list[Worker]:
        """Return the live workers that have started a trial."""
        pids = {event["pid"] for event in self._trials.of("began")}
        return [w for w in self.workers if w.process.poll() is None and w.pid in pids]

    def replace(self, worker: Worker, reason: str) -> None:
        """Report a dead worker and start another one in its place."""
        self._trials.report_death(worker.pid, reason)
        self.workers[self.workers.index(worker)] = self.start()

    def kill(self, worker: Worker) -> None:
        worker.kill()
        self.replace(worker, "killed by signal 9")

    def tend(self) -> bool:
        """Replace workers that died by themselves; return whether any is still working."""
        now = time.time()
        ends = {e["pid"]: float(e["time"]) for e in self._trials.of("died")}
        for worker in list(self.workers):
            code = worker.process.poll()
            # The thread of Optuna's heartbeat can keep a process alive after its work has raised.
            is_hung = code is None and now - ends.get(worker.pid, now) > HUNG_SECONDS
            if is_hung:
                self.num_hung += 1
                self.kill(worker)
            elif code:
                self.num_died += 1
                self.replace(worker, f"exit code {code}")
        return any(worker.process.poll() is None for worker in self.workers)

    @property
    def failures(self) -> dict[str, int]:
        """How many workers died or hung although nothing killed them."""
        return {"workers died of themselves": self.num_died, "workers hung": self.num_hung}

    def finish(self, seconds: float) -> bool:
        """Tend until all have ended; return whether they did in time. Kill the rest."""
        deadline = time.monotonic() + seconds
        while self.tend() and time.monotonic() < deadline:
            time.sleep(0.1)
        is_over = all(worker.process.poll() is not None for worker in self.workers)
        self.kill_all()
        return is_over

    def kill_all(self) -> None:
        for worker in self.workers:
            worker.kill()
