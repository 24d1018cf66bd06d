"""What a study loses to faults: finesweep beside stock Optuna, the same faults in the same run.

    python benchmarks/reliability.py --scale full --write

Workers are real processes, kills and stops are real signals, the databases are SQLite files and a
PostgreSQL server of its own; only the training is a toy (`faults/worker.py`). Stock Optuna gets
what its documentation offers: RDBStorage with a heartbeat and RetryHeartbeatStaleTrialCallback,
`optimize` in every process, MaxTrialsCallback for the budget, a seeded TPESampler, and checkpoints
that retried trials go on from. On both sides a process that dies is started again.

Prints a table, or with --json everything measured. Ends with 1 if finesweep lost anything.
Takes about 3 minutes at the small scale.
"""

from __future__ import annotations

import argparse
import errno
import json
import math
import os
import platform
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import optuna
from faults.postgres import Postgres, postgres_binaries
from faults.side import BATCH_SIZES, LRS, SIDES, Crew, Pool, Trials, Worker
from faults.worker import GRACE_SECONDS, Toy

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
SQLITE, POSTGRES = "SQLite", "PostgreSQL"
SHORT = Toy(steps=16, checkpoint_steps=4, validation_steps=8)
LONG = Toy(steps=60, step_seconds=0.05, checkpoint_steps=10, validation_steps=20)

T = TypeVar("T")

# What a side came to: numbers are losses, which should be 0; words are what else there is to say.
Found = dict[str, int | str]


@dataclass(frozen=True)
class Scale:
    """How much of each fault."""

    kills: int
    storm_trials: int
    dead_trials: int
    racers: int
    race_trials: int
    races: int
    reapings: int
    stops: int
    fillings: int
    restarts: int
    budgets: tuple[int, ...]
    distinct_trials: int


SCALES = {
    "small": Scale(8, 24, 8, 4, 40, 2, 3, 1, 1, 2, (1, 4), 20),
    "full": Scale(50, 200, 24, 16, 40, 20, 20, 5, 3, 5, (1, 4, 16), 60),
}


@dataclass(frozen=True)
class Row:
    """A fault on a storage.

    Attributes:
        name: What `--only` knows it by.
        fault: The fault in words.
        storage: `SQLite` or `PostgreSQL`.
        injected: How often, in words.
        finesweep: What it came to.
        stock: The same for stock Optuna.

    """

    name: str
    fault: str
    storage: str
    injected: str
    finesweep: Found
    stock: Found


class Bench:
    """Where the studies of one run lie, and how they are made."""

    def __init__(self, folder: Path, scale: Scale, seed: int, server: Postgres | None) -> None:
        self.folder = folder
        self.scale = scale
        self.seed = seed
        self.server = server
        self._num_studies = 0
        self._crews: list[Crew] = []
        self._pools: dict[tuple[str, int], Pool] = {}

    def study(self, side: str, storage: str, budget: int, **more: Any) -> Trials:
        """Make a new study in a database of its own."""
        self._num_studies += 1
        url = self.server.new_database() if storage == POSTGRES and self.server else None
        folder = more.pop("root", None) or self.folder / f"{self._num_studies}-{side}"
        assert isinstance(folder, Path)
        return Trials(side, folder, url, budget, seed=self.seed, **more)

    def crew(self, trials: Trials, num_workers: int) -> Crew:
        """Start workers on a study."""
        self._crews.append(Crew(trials, num_workers))
        return self._crews[-1]

    def end(self) -> None:
        """Leave no process behind."""
        for crew in self._crews:
            crew.kill_all()
        for pool in self._pools.values():
            pool.end()

    def pool(self, side: str, num_workers: int) -> Pool:
        """Return waiting workers, the same ones each time."""
        key = (side, num_workers)
        if key not in self._pools:
            self._pools[key] = Pool(side, num_workers, self.folder / f"{side}.stderr")
        return self._pools[key]


def kill_at_random(bench: Bench, side: str, storage: str) -> tuple[str, Found]:
    """SIGKILL workers at random moments."""
    scale, chance = bench.scale, random.Random(bench.seed)
    trials = bench.study(side, storage, scale.storm_trials, toy=SHORT)
    crew, killed = bench.crew(trials, 4), list[int]()
    deadline = time.monotonic() + 1200
    # Spread over the study: the next kill is due when so many trials are done.
    dues = sorted(chance.uniform(0, 0.9 * scale.storm_trials) for _ in range(scale.kills))
    while dues and crew.tend() and time.monotonic() < deadline:
        time.sleep(chance.uniform(0, 0.2))
        victims = crew.at_work()
        if victims and len(trials.of("told")) >= dues[0]:
            victim = chance.choice(victims)
            killed.append(victim.pid)
            crew.kill(victim)
            dues.pop(0)
    is_over = crew.finish(600)
    time.sleep(GRACE_SECONDS + 1)
    found = losses(trials) | interruptions(trials, killed) | ending(trials, is_over)
    if crew.num_died:
        found["workers died of themselves"] = crew.num_died
    return f"{len(killed)} kills, 4 workers", found


def kill_all(bench: Bench, side: str, storage: str) -> tuple[str, Found]:
    """SIGKILL every worker and whoever started them; look after the study; go on with it."""
    trials = bench.study(side, storage, bench.scale.dead_trials, toy=LONG, is_supervised=False)
    crew = bench.crew(trials, 4)
    wait(lambda: len({event["pid"] for event in trials.of("saved")}) == 4)
    pids = [worker.pid for worker in crew.workers]
    crew.kill_all()
    time.sleep(GRACE_SECONDS + 1)
    trials.look()
    found: Found = {"trials RUNNING after the grace period": num_running(trials)}
    trials.toy = Toy()
    is_over = bench.crew(trials, 4).finish(120)
    time.sleep(GRACE_SECONDS + 1)
    found["still RUNNING after the study went on"] = num_running(trials)
    found |= interruptions(trials, pids) | ending(trials, is_over)
    return "4 of 4 workers", found


def race_for_trials(bench: Bench, side: str, storage: str) -> tuple[str, Found]:
    """Let many workers take what waits in the queue at once."""
    scale, sums = bench.scale, Counter[str]()
    pool = bench.pool(side, scale.racers)
    for _ in range(scale.races):
        toy = Toy(steps=1, step_seconds=0.01)
        count = scale.race_trials
        trials = bench.study(side, storage, count, toy=toy, num_queued=count)
        _, num_died = pool.do(trials.job())
        queued = Counter(e["number"] for e in trials.of("began") if e["number"] < count)
        sums["trials run twice"] += sum(times > 1 for times in queued.values())
        sums["told results lost"] += num_lost(trials)
        sums["workers died"] += num_died
        sums["queued trials not run"] += count - len(queued)
    told = f"{scale.races} x {scale.race_trials} queued trials, {scale.racers} workers"
    return told, dict(sums)


def race_to_reap(bench: Bench, side: str, storage: str) -> tuple[str, Found]:
    """Let several workers find the same ten dead trials at once."""
    num_stale, sums, counts = 10, Counter[str](), []
    pool = bench.pool(side, 4)
    for _ in range(bench.scale.reapings):
        trials = bench.study(side, storage, 100, is_supervised=False)
        holder = Worker(side, bench.folder / "pool.stderr")
        holder.give(trials.job("hold", num_trials=num_stale))
        holder.answer()
        holder.kill()
        time.sleep(GRACE_SECONDS + 1 if side == "stock" else 0)
        answers, num_died = pool.do(trials.job("reap"))
        waiting = sum(trial.state.name == "WAITING" for trial in trials.all)
        # finesweep's trials wait under their own numbers, which are no more than there were.
        count = waiting if side == "stock" else sum(answers)
        counts.append(count)
        sums["requeues too many"] += max(0, count - num_stale)
        sums["trials not requeued"] += max(0, num_stale - min(count, waiting))
        sums["workers died"] += num_died
    exact = sum(count == num_stale for count in counts)
    found: Found = {**sums, "exactly 10": f"{exact} of {len(counts)} times"}
    return f"{len(counts)} x {num_stale} dead trials, 4 reapers", found


def stop_and_continue(bench: Bench, side: str, storage: str) -> tuple[str, Found]:
    """SIGSTOP a worker until another one has its trial, then let it continue."""
    sums: Counter[str] = Counter()
    for _ in range(bench.scale.stops):
        trials = bench.study(side, storage, 3, toy=LONG, is_supervised=False)
        first = bench.crew(trials, 1)
        sleeper = first.workers[0]
        wait(lambda trials=trials: trials.of("saved"))
        trial = trials.of("saved")[0]["trial"]
        sleeper.process.send_signal(signal.SIGSTOP)
        second = bench.crew(trials, 1)

        def began(
            trials: Trials = trials, sleeper: Worker = sleeper, trial: int = trial
        ) -> Sequence[dict[str, object]]:
            events = trials.of("began")
            return [e for e in events if e["trial"] == trial and e["pid"] != sleeper.pid]

        with suppress(TimeoutError):
            wait(began, 120)
        taken = began()
        sleeper.process.send_signal(signal.SIGCONT)
        is_over = second.finish(120) and first.finish(120)
        sums["not taken over"] += not taken
        if taken:
            sums.update(late(trials, sleeper.pid, trial, taken[0]))
        sums["sleepers that died of it"] += first.num_died
        sums["studies not finished"] += not is_over
    return f"{bench.scale.stops} workers", dict(sums)


def late(trials: Trials, pid: int, trial: int, taken: dict[str, object]) -> dict[str, int]:
    """Return what a worker did to a trial that was another one's by then."""
    after = float(str(taken["time"]))
    events = [e for e in trials.events if e["pid"] == pid and e["time"] > after]
    mine = [e for e in events if e.get("trial") == trial and e["event"] != "began"]
    again = [e["time"] for e in events if (e["event"], e.get("trial")) == ("began", trial)]
    mine = [e for e in mine if not again or e["time"] < again[0]]
    final = [t for t in trials.all if t.number == taken["number"]]
    return {
        "late results accepted": sum(e["event"] == "told" for e in mine),
        "successors' checkpoints overwritten": int(
            any(e["event"] == "wrote" and e["path"] == taken["path"] for e in mine)
        ),
        "successors' results missing": int(not final or final[0].state.name != "COMPLETE"),
    }


def fill_disk(bench: Bench, side: str, storage: str) -> tuple[str, Found] | None:
    """Fill the disk of database and checkpoints, and free it again."""
    with small_disk(bench.folder / f"disk-{side}") as disk:
        if disk is None:
            return None
        trials = bench.study(side, storage, 40, root=disk / "root")
        trials.log = bench.folder / f"disk-{side}-log"
        crew = bench.crew(trials, 2)
        for number in range(bench.scale.fillings):
            wait(lambda number=number: len(trials.of("told")) >= 3 + 9 * number)
            fill(disk)
            until = time.monotonic() + 4
            while time.monotonic() < until:
                crew.tend()
                time.sleep(0.5)
            (disk / "filling").unlink()
        is_over = crew.finish(90)
        time.sleep(GRACE_SECONDS + 1)
        found = losses(trials) | ending(trials, is_over)
        found["workers died"] = crew.num_died
        return f"{bench.scale.fillings} times for 4 s", found


def restart_server(bench: Bench, side: str, storage: str) -> tuple[str, Found]:
    """Restart PostgreSQL at once, without asking its clients."""
    assert bench.server is not None
    trials = bench.study(
        side,
        storage,
        12 * bench.scale.restarts,
        toy=SHORT,
    )
    crew = bench.crew(trials, 4)
    for number in range(bench.scale.restarts):
        wait(lambda number=number: len(trials.of("told")) >= 2 + 9 * number)
        bench.server.restart("immediate")
        crew.tend()
    is_over = crew.finish(120)
    time.sleep(GRACE_SECONDS + 1)
    found = losses(trials) | ending(trials, is_over)
    found["failed trials"] = sum(trial.state.name == "FAIL" for trial in trials.all)
    found["workers died"] = crew.num_died
    return f"{bench.scale.restarts} restarts, 4 workers", found


def keep_budget(bench: Bench, side: str, storage: str) -> tuple[str, Found]:
    """Count what several workers finish of a budget of 20, and once more when asked again."""
    over, words = 0, []
    for num_workers in bench.scale.budgets:
        trials = bench.study(side, storage, 20, toy=Toy(steps=4))
        pool = bench.pool(side, num_workers)
        pool.do(trials.job())
        first = num_finished(trials)
        pool.do(trials.job())  # resumed, with nothing left to do
        over += max(0, num_finished(trials) - 20)
        words.append(f"{first}, then {num_finished(trials)}")
    workers = ", ".join(map(str, bench.scale.budgets))
    found: Found = {"trials too many": over, "finished": "; ".join(words)}
    return f"20 trials with {workers} workers, then resumed", found


def seek_distinct(bench: Bench, side: str, storage: str) -> tuple[str, Found]:
    """Count the distinct configurations of four workers that share a seed."""
    num_trials = bench.scale.distinct_trials
    trials = bench.study(side, storage, num_trials, toy=Toy(steps=4))
    pool = bench.pool(side, 4)
    pool.do(trials.job())
    tried, distinct = num_distinct(trials)
    found: Found = {"repeated": tried - distinct, "distinct": f"{distinct} of {tried}"}
    return f"{num_trials} trials, 4 workers, 1 seed", found


def exhaust(bench: Bench, side: str, storage: str) -> tuple[str, Found]:
    """Ask for more trials than a space has combinations."""
    num = len(LRS) * len(BATCH_SIZES)
    trials = bench.study(side, storage, 20, toy=Toy(steps=4), is_finite=True)
    pool = bench.pool(side, 4)
    pool.do(trials.job())
    tried, distinct = num_distinct(trials)
    found: Found = {
        "repeated": tried - distinct,
        "combinations not tried": num - distinct,
        "trials run": str(tried),
    }
    return f"{num} combinations, 20 trials asked for", found


def return_no_number(bench: Bench, side: str, storage: str) -> tuple[str, Found]:
    """Let training come to NaN: finesweep's is real; stock's objective returns NaN and inf."""
    num = 4
    if side == "finesweep":
        root = bench.folder / f"nan-{storage}"
        root.mkdir()
        url = bench.server.new_database() if storage == POSTGRES and bench.server else ""
        words = ["sweep", "study=s", "model=tiny", "strategy=full", "logger=none"]
        words += ["trainer.max_grad_norm=null", "search/space=none", f"search.num_trials={num}"]
        words += ["trainer.epochs=1", "trainer.device=cpu", "optimizer.lr=interval(1e29,1e30)"]
        code = "import sys; from search.cli import main; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, *words],
            cwd=root,
            env={**os.environ, "FINESWEEP_STORAGE": url},
            capture_output=True,
            text=True,
            check=False,
        )
        url = url or f"sqlite:///{root}/studies/s/study.db"
        all_ = optuna.load_study(study_name="s", storage=url).get_trials()
        assert len(all_) == num, done.stdout + done.stderr
        reasons = Counter(str(trial.user_attrs.get("ending")) for trial in all_)
    else:
        trials = bench.study(side, storage, num)
        results = dict(zip("0123", ("nan", "inf", "nan", "inf"), strict=True))
        pool = bench.pool(side, 1)
        pool.do(trials.job(results=results))
        all_ = [trial for trial in trials.all if str(trial.number) in results]
        reasons = Counter(trial.state.name for trial in all_)
    bad = [t for t in all_ if t.state.name == "COMPLETE" and not _is_finite(t)]
    words_ = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    return f"{num} trials", {"infinite results COMPLETE": len(bad), "ended": words_}


def _is_finite(trial: optuna.trial.FrozenTrial) -> bool:
    # finesweep's real training may also have come to a score before it diverged.
    return all(math.isfinite(value) for value in trial.values)


def num_lost(trials: Trials) -> int:
    """Return how many results are not in the storage though their worker was told they are."""
    told = [(event["number"], event["value"]) for event in trials.of("told")]
    stored = {(t.number, t.value) for t in trials.all if t.state.name == "COMPLETE"}
    return len(told) - len(stored.intersection(told))


def num_running(trials: Trials) -> int:
    return sum(trial.state.name == "RUNNING" for trial in trials.all)


def num_finished(trials: Trials) -> int:
    return sum(trial.state.name == "COMPLETE" for trial in trials.all)


def num_distinct(trials: Trials) -> tuple[int, int]:
    """Return how many trials there are, and how many that differ."""
    tried = [json.dumps(trial.params, sort_keys=True) for trial in trials.all]
    return len(tried), len(set(tried))


def losses(trials: Trials) -> Found:
    """Return what a study lost: results, trials that nobody has, work done twice."""
    finished = Counter(event["trial"] for event in trials.of("told"))
    return {
        "told results lost": num_lost(trials),
        "trials left RUNNING": num_running(trials),
        "trials finished twice": sum(count > 1 for count in finished.values()),
    }


def ending(trials: Trials, is_over: bool) -> Found:
    """Return how the study ended, against its budget."""
    count = num_finished(trials)
    found: Found = {"trials too many": max(0, count - trials.budget)}
    if not is_over or count < trials.budget:
        found["trials missing at the end"] = max(0, trials.budget - count)
        found["ended"] = "in order" if is_over else "not in time"
    return found | {"finished": f"{count} of {trials.budget}"}


def interruptions(trials: Trials, pids: Sequence[int]) -> Found:
    """Return what became of the trials that killed workers were at."""
    events, states = trials.events, {trial.number: trial.state.name for trial in trials.all}
    sums: Counter[str] = Counter()
    for pid in pids:
        mine = [event for event in events if event["pid"] == pid]
        begins = [event for event in mine if event["event"] == "began"]
        if not begins or any(e["event"] == "told" and e["time"] > begins[-1]["time"] for e in mine):
            continue
        last = begins[-1]
        followers = [
            event
            for event in events
            if (event["event"], event["trial" if "trial" in event else "event"])
            == ("began", last["trial"])
            and event["time"] > last["time"]
        ]
        if not followers and states[last["number"]] == "COMPLETE":
            continue  # told, and killed before it could write that down
        saved = [e["step"] for e in mine if e["event"] == "saved" and e["trial"] == last["trial"]]
        sums["interrupted"] += 1
        sums["not continued"] += not followers
        if followers:
            sums["with other values"] += followers[0]["values"] != last["values"]
            sums["not from their checkpoint"] += followers[0]["step"] < max(saved, default=0)
            sums["under another number"] += followers[0]["number"] != last["number"]
    interrupted = sums.pop("interrupted", 0)
    keys = ("not continued", "with other values", "not from their checkpoint")
    found: Found = {f"of {interrupted} interrupted {keys[0]}": sums[keys[0]]}
    found |= {key: sums[key] for key in (*keys[1:], "under another number")}
    return found


def wait(holds: Callable[[], T], seconds: float = 180) -> T:
    """Return what holds as soon as it does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := holds():
            return value
        time.sleep(0.05)
    raise TimeoutError(f"it did not come to pass in {seconds:g} s")


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """Mount a disk of 16 MB; yield None where that is not permitted."""
    folder.mkdir(parents=True)
    words = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(words, check=False).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> None:
    """Leave no byte of a disk."""
    descriptor = os.open(disk / "filling", os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, bytes(4096))
    except OSError as error:
        assert error.errno == errno.ENOSPC
    finally:
        os.close(descriptor)


Measure = Callable[[Bench, str, str], "tuple[str, Found] | None"]
BOTH = (SQLITE, POSTGRES)
FAULTS: dict[str, tuple[str, Measure, tuple[str, ...]]] = {
    "kill": ("workers killed at random (SIGKILL)", kill_at_random, BOTH),
    "dead": ("all workers killed at once, then the study looked at and continued", kill_all, BOTH),
    "claim": ("workers race for queued trials", race_for_trials, BOTH),
    "reap": ("workers race to revive dead trials", race_to_reap, BOTH),
    "stop": ("worker stopped until replaced, then continued", stop_and_continue, BOTH),
    "disk": ("disk of database and checkpoints full, then freed", fill_disk, (SQLITE,)),
    "restart": ("database server restarted (`-m immediate`)", restart_server, (POSTGRES,)),
    "budget": ("budget shared by workers", keep_budget, BOTH),
    "distinct": ("workers share a sampler seed", seek_distinct, BOTH),
    "exhaust": ("space smaller than the budget", exhaust, BOTH),
    "nan": ("training comes to NaN or infinity", return_no_number, BOTH),
}


def measure(
    bench: Bench, names: Sequence[str], asked: Sequence[str], unmeasured: list[str]
) -> Iterator[Row]:
    """Inject each fault into both sides on each storage; note what could not be measured."""
    for name in names:
        fault, inject, storages = FAULTS[name]
        for storage in [each for each in storages if each in asked]:
            if storage == POSTGRES and bench.server is None:
                print(f"{name}: PostgreSQL is not installed, skipped", file=sys.stderr)
                continue
            began = time.monotonic()
            try:
                found = [inject(bench, side, storage) for side in SIDES]
            except (AssertionError, OSError, EOFError) as error:
                traceback.print_exc()
                print(f"{name} on {storage} was not measured: {error}", file=sys.stderr)
                unmeasured.append(name)
                continue
            seconds = time.monotonic() - began
            if found[0] is None or found[1] is None:
                print(f"{name}: mounting a disk is not permitted, skipped", file=sys.stderr)
                continue
            row = Row(name, fault, storage, found[0][0], found[0][1], found[1][1])
            print(f"{name}, {seconds:.0f} s: {table([row]).splitlines()[-1]}", file=sys.stderr)
            yield row


def num_losses(found: Found) -> int:
    """Return the sum of what should be 0."""
    return sum(value for value in found.values() if isinstance(value, int))


def table(rows: Sequence[Row]) -> str:
    """Return the rows as Markdown."""
    lines = ["| fault | injected | finesweep | stock Optuna |", "|---|---|---|---|"]
    for row in rows:
        cells = (f"{row.fault}, {row.storage}", row.injected, told(row.finesweep), told(row.stock))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def told(found: Found) -> str:
    """Return what a side came to in words, the losses first and bold where there are any."""
    losses = {key: value for key, value in found.items() if isinstance(value, int)}
    words = [f"**{value} {key}**" for key, value in losses.items() if value]
    if not words:
        words = [f"0 {key}" for key in losses]
    words += [f"{key} {value}" for key, value in found.items() if isinstance(value, str)]
    return "; ".join(words)


def machine() -> str:
    """Return where and with what it was measured."""
    versions = [f"Python {platform.python_version()}", f"Optuna {optuna.__version__}"]
    versions.append(f"SQLite {sqlite3.sqlite_version}")
    binaries = postgres_binaries()
    if binaries is not None:
        versions.append(f"PostgreSQL {binaries.parent.name}")
    return f"{os.cpu_count()} cores; {', '.join(versions)}"


def write_page(text: str) -> None:
    """Put the table between its marks in the documentation."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    assert after, f"{PAGE}: the marks are not there"
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scale", choices=SCALES, default="small")
    parser.add_argument("--only", default=",".join(FAULTS), help="names, with commas between")
    parser.add_argument("--storage", choices=[*BOTH, "both"], default="both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    asked = parser.parse_args()
    names = asked.only.split(",")
    if unknown := set(names) - set(FAULTS):
        parser.error(f"--only: {', '.join(sorted(unknown))} is none of {', '.join(FAULTS)}")
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storages = BOTH if asked.storage == "both" else (asked.storage,)
    binaries = postgres_binaries() if POSTGRES in storages else None
    server = Postgres(binaries) if binaries else None
    unmeasured: list[str] = []
    try:
        with tempfile.TemporaryDirectory(prefix="finesweep-reliability-") as folder:
            os.environ.setdefault("FINESWEEP_CACHE", f"{folder}/cache")
            bench = Bench(Path(folder), SCALES[asked.scale], asked.seed, server)
            try:
                rows = list(measure(bench, names, storages, unmeasured))
            finally:
                bench.end()
    finally:
        if server is not None:
            server.remove()
    if asked.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        command = f"python benchmarks/reliability.py --scale {asked.scale} --seed {asked.seed}"
        text = f"```console\n$ {command}\n```\n\n{machine()}.\n\n{table(rows)}"
        print(text)
        if asked.write:
            write_page(text)
    return int(bool(unmeasured) or any(num_losses(row.finesweep) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
