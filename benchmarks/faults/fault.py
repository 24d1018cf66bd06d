"""The faults: each function injects one into a side's study and returns the result."""

from __future__ import annotations

import errno
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import optuna
from faults.bench import POSTGRES, Bench
from faults.loss import (
    Found,
    ending,
    interruptions,
    losses,
    num_distinct,
    num_finished,
    num_lost,
    num_running,
)
from faults.side import BATCH_SIZES, LRS, Trials, Worker
from faults.worker import GRACE_SECONDS, Toy

SHORT = Toy(steps=16, checkpoint_steps=4, validation_steps=8)
LONG = Toy(steps=60, step_seconds=0.05, checkpoint_steps=10, validation_steps=20)

T = TypeVar("T")


def kill_at_random(bench: Bench, side: str, storage: str) -> tuple[str, Found]:
    """SIGKILL workers at random moments."""
    scale, chance = bench.scale, random.Random(bench.seed)
    trials = bench.study(side, storage, scale.storm_trials, toy=SHORT)
    crew, killed = bench.crew(trials, 4), list[int]()
    deadline = time.monotonic() + 1200
    # Spread over the study: each kill is due after this many finished trials.
    dues = sorted(chance.uniform(0, 0.9 * scale.storm_trials) for _ in range(scale.kills))
    while dues and crew.tend() and time.monotonic() < deadline:
        time.sleep(chance.uniform(0, 0.2))
        victims = crew.at_work()
        if victims and len(trials.of("confirmed")) >= dues[0]:
            victim = chance.choice(victims)
            killed.append(victim.pid)
            crew.kill(victim)
            dues.pop(0)
    is_over = crew.finish(600)
    time.sleep(GRACE_SECONDS + 1)
    found = losses(trials) | interruptions(trials, killed) | ending(trials, is_over)
    found |= crew.failures
    return f"{len(killed)} kills, 4 workers", found


def kill_all(bench: Bench, side: str, storage: str) -> tuple[str, Found]:
    """SIGKILL every worker and its engine; inspect the study; resume it."""
    trials = bench.study(side, storage, bench.scale.dead_trials, toy=LONG, has_engine=False)
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
    found["still RUNNING after the study was resumed"] = num_running(trials)
    found |= interruptions(trials, pids) | ending(trials, is_over)
    return "4 of 4 workers", found


def race_for_trials(bench: Bench, side: str, storage: str) -> tuple[str, Found]:
    """Let many workers claim queued trials at once."""
    scale, sums = bench.scale, Counter[str]()
    pool = bench.pool(side, scale.racers)
    for _ in range(scale.races):
        toy = Toy(steps=1, step_seconds=0.01)
        count = scale.race_trials
        trials = bench.study(side, storage, count, toy=toy, num_queued=count)
        _, num_died = pool.do(trials.job())
        queued = Counter(e["number"] for e in trials.of("began") if e["number"] < count)
        sums["trials run twice"] += sum(times > 1 for times in queued.values())
        sums["stored results lost"] += num_lost(trials)
        sums["workers died"] += num_died
        sums["queued trials not run"] += count - len(queued)
    injected = f"{scale.races} x {scale.race_trials} queued trials, {scale.racers} workers"
    return injected, dict(sums)


def race_to_reap(bench: Bench, side: str, storage: str) -> tuple[str, Found]:
    """Let several workers find the same ten dead trials at once."""
    num_stale, sums, counts = 10, Counter[str](), []
    pool = bench.pool(side, 4)
    for _ in range(bench.scale.reapings):
        trials = bench.study(side, storage, 100, has_engine=False)
        holder = Worker(side, bench.folder / "pool.stderr")
        holder.give(trials.job("hold", num_trials=num_stale))
        holder.answer()
        holder.kill()
        time.sleep(GRACE_SECONDS + 1 if side == "stock" else 0)
        answers, num_died = pool.do(trials.job("reap"))
        waiting = sum(trial.state.name == "WAITING" for trial in trials.all)
        # finesweep's trials wait under their own numbers, so there are no more of them.
        count = waiting if side == "stock" else sum(answers)
        counts.append(count)
        sums["requeues too many"] += max(0, count - num_stale)
        sums["trials not requeued"] += max(0, num_stale - min(count, waiting))
        sums["workers died"] += num_died
    exact = sum(count == num_stale for count in counts)
    found: Found = {**sums, "exactly 10": f"{exact} of {len(counts)} times"}
    return f"{len(counts)} x {num_stale} dead trials, 4 reapers", found


def stop_and_continue(bench: Bench, side: str, storage: str) -> tuple[str, Found]:
    """SIGSTOP a worker until another one has taken its trial, then let it continue."""
    sums: Counter[str] = Counter()
    for _ in range(bench.scale.stops):
        trials = bench.study(side, storage, 3, toy=LONG, has_engine=False)
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
        sums["stopped workers that died afterwards"] += first.num_died + first.num_hung
        sums["studies not finished"] += not is_over
    return f"{bench.scale.stops} workers", dict(sums)


def late(trials: Trials, pid: int, trial: int, taken: dict[str, object]) -> dict[str, int]:
    """Return what a worker changed in a trial after another worker had taken it."""
    after = float(str(taken["time"]))
    events = [e for e in trials.events if e["pid"] == pid and e["time"] > after]
    own_events = [e for e in events if e.get("trial") == trial and e["event"] != "began"]
    again = [e["time"] for e in events if (e["event"], e.get("trial")) == ("began", trial)]
    own_events = [e for e in own_events if not again or e["time"] < again[0]]
    final = [t for t in trials.all if t.number == taken["number"]]
    return {
        "late results accepted": sum(e["event"] == "confirmed" for e in own_events),
        "successors' checkpoints overwritten": int(
            any(e["event"] == "wrote" and e["path"] == taken["path"] for e in own_events)
        ),
        "successors' results missing": int(not final or final[0].state.name != "COMPLETE"),
    }


def fill_disk(bench: Bench, side: str, storage: str) -> tuple[str, Found] | None:
    """Fill the disk of the database and checkpoints, then free it."""
    with small_disk(bench.folder / f"disk-{side}") as disk:
        if disk is None:
            return None
        trials = bench.study(side, storage, 40, root=disk / "root")
        trials.log = bench.folder / f"disk-{side}-log"
        crew = bench.crew(trials, 2)
        for number in range(bench.scale.fillings):
            due = 3 + 9 * number
            wait(lambda due=due: crew.tend() and len(trials.of("confirmed")) >= due)
            fill(disk)
            until = time.monotonic() + 4
            while time.monotonic() < until:
                crew.tend()
                time.sleep(0.5)
            (disk / "filling").unlink()
        is_over = crew.finish(90)
        time.sleep(GRACE_SECONDS + 1)
        found = losses(trials) | ending(trials, is_over)
        found |= crew.failures
        return f"{bench.scale.fillings} times for 4 s", found


def restart_server(bench: Bench, side: str, storage: str) -> tuple[str, Found]:
    """Restart PostgreSQL at once, without waiting for its clients."""
    assert bench.server is not None
    trials = bench.study(
        side,
        storage,
        12 * bench.scale.restarts,
        toy=SHORT,
    )
    crew = bench.crew(trials, 4)
    for number in range(bench.scale.restarts):
        wait(lambda number=number: crew.tend() and len(trials.of("confirmed")) >= 2 + 9 * number)
        bench.server.restart("immediate")
    is_over = crew.finish(120)
    time.sleep(GRACE_SECONDS + 1)
    found = losses(trials) | ending(trials, is_over)
    found["failed trials"] = sum(trial.state.name == "FAIL" for trial in trials.all)
    found |= crew.failures
    return f"{bench.scale.restarts} restarts, 4 workers", found


def keep_budget(bench: Bench, side: str, storage: str) -> tuple[str, Found]:
    """Count the trials that several workers finish with a budget of 20, also after resuming."""
    over, words = 0, []
    for num_workers in bench.scale.budgets:
        trials = bench.study(side, storage, 20, toy=Toy(steps=4))
        pool = bench.pool(side, num_workers)
        pool.do(trials.job())
        first = num_finished(trials)
        pool.do(trials.job())  # resumed with nothing left to do
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
    return f"{num} combinations, 20 trials requested", found


def return_no_number(bench: Bench, side: str, storage: str) -> tuple[str, Found]:
    """Let training diverge: finesweep really trains; stock's objective returns NaN and inf."""
    num = 4
    if side == "finesweep":
        root = bench.folder / f"nan-{storage}"
        root.mkdir()
        url = bench.server.new_database() if storage == POSTGRES and bench.server else ""
        words = ["sweep", "study=s", "model=tiny", "strategy=full", "logger=none"]
        words += ["search.certify=false"]
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
    # finesweep's real training may have a finite score from before it diverged.
    return all(math.isfinite(value) for value in trial.values)


def wait(holds: Callable[[], T], seconds: float = 180) -> T:
    """Wait until `holds` returns a true value, and return that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := holds():
            return value
        time.sleep(0.05)
    raise TimeoutError(f"it did not come to pass in {seconds:g} s")


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """Mount a disk of 16 MB; yield None if that is not permitted."""
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
    """Fill a disk to the last byte."""
    descriptor = os.open(disk / "filling", os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, bytes(4096))
    except OSError as error:
        assert error.errno == errno.ENOSPC
    finally:
        os.close(descriptor)
