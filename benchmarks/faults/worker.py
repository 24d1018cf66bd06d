"""A worker process of the reliability benchmark, of either side: `python -P worker.py SIDE`.

It reads jobs as lines of JSON, does them one by one, and answers each with a line. Training is a
toy: short sleeps, a score that is a function of the learning rate, a checkpoint every few steps.
Everything else is real: finesweep's worker loop (`search.worker.loop`), or Optuna's `optimize` with
the callbacks, heartbeat and checkpoint from its documentation.

Each worker logs every confirmed event to its own file, flushed to disk before it continues, so that
the log can be compared with the storage later.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GRACE_SECONDS = 3.0
HEARTBEAT_SECONDS = 1


@dataclass(frozen=True)
class Toy:
    """The toy training: its length, and how often it saves and validates."""

    steps: int = 12
    step_seconds: float = 0.02
    checkpoint_steps: int = 3
    validation_steps: int = 4

    def run(self, checkpoint: Path, lr: float, save: Saved, report: Reported) -> None:
        """Train from the checkpoint, if there is one, to the end."""
        from lightning_modules.hooks import Hooks
        from lightning_modules.machine.disk import write_when_free
        from lightning_modules.machine.file import write_json

        for step in range(step_of(checkpoint) + 1, self.steps + 1):
            time.sleep(self.step_seconds)
            if step % self.validation_steps == 0:
                report(step, score(lr) * step / self.steps)
            if step % self.checkpoint_steps == 0:
                content = {"step": step, "pid": os.getpid()}
                write_when_free(Hooks(), lambda content=content: write_json(checkpoint, content))
                save(step)


Saved = Callable[[int], None]
Reported = Callable[[int, float], None]


def score(lr: float) -> float:
    """Return the toy's score, at most 1."""
    return 1 / (1 + (math.log10(lr) + 3) ** 2)


def step_of(checkpoint: Path) -> int:
    """Return the step of a checkpoint."""
    try:
        return int(json.loads(checkpoint.read_text())["step"])
    except OSError:
        return 0


class Log:
    """The events that the process knows happened, one per line, each flushed to disk at once."""

    def __init__(self, folder: str) -> None:
        folder_ = Path(folder)
        folder_.mkdir(parents=True, exist_ok=True)
        path = folder_ / f"{os.getpid()}.jsonl"
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def __call__(self, event: str, **values: Any) -> None:
        line = json.dumps({"event": event, "pid": os.getpid(), "time": time.time(), **values})
        os.write(self._descriptor, line.encode() + b"\n")
        if event == "confirmed":
            os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


class Finesweep:
    """Does jobs with finesweep's own code."""

    def __init__(self) -> None:
        pass

    def work(self, job: Mapping[str, Any], log: Log) -> None:
        """Train trials until the study is over, like `search.worker`."""
        from search.machine.process import Process
        from search.storage.lease import LeaseLost
        from search.storage.retry import Retry
        from search.study.open import load_study
        from search.study.session import join

        while True:
            retry = Retry("the storage", max_seconds=None)
            # While its engine lives, only the engine reports how a worker ended.
            engine_process = Process.of(os.getppid()) if job["has_engine"] else None
            session = join(load_study(Path(job["folder"]), retry), engine_process)
            log("joined", worker=session.name)
            wait_until(job)
            try:
                self._take_all(session, Toy(**job["toy"]), log)
            except LeaseLost as error:
                log("refused", reason=str(error))
                session.leave()
            else:
                session.leave()
                return
            finally:
                session.study.tables.engine.dispose()

    def _take_all(self, session: Any, toy: Toy, log: Log) -> None:
        from search.storage.failure import FailureKind
        from search.storage.lease import LeaseLost
        from search.storage.retry import StorageGone

        while True:
            attempt = session.next_attempt()
            if attempt is None:
                if session.study.is_over:
                    return
                time.sleep(0.2)
                continue
            session.set_busy(True)
            try:
                outcome = self._train(session, attempt, toy, log)
            except (LeaseLost, StorageGone):
                raise
            except Exception as error:
                log("failed", trial=attempt.number, reason=repr(error))
                session.hand_back(attempt, FailureKind.failed, repr(error), None)
                raise
            finally:
                session.set_busy(False)
            session.ended(attempt, outcome)
            value = outcome.best.metrics["accuracy"]
            log("confirmed", trial=attempt.number, number=attempt.number, value=value)

    def _train(self, session: Any, attempt: Any, toy: Toy, log: Log) -> Any:
        from lightning_modules.folder import CHECKPOINT_FILE
        from lightning_modules.outcome import Ending, Outcome, Point

        checkpoint = attempt.folder / CHECKPOINT_FILE
        trial = attempt.number
        log(
            "began",
            trial=trial,
            number=trial,
            values=dict(attempt.values),
            step=step_of(checkpoint),
            path=str(checkpoint),
        )
        session.began(attempt, toy.steps, toy.steps)
        lr = attempt.values.get("optimizer.lr", 1e-3)

        def point(step: int, value: float) -> Point:
            return Point(step, step, step, step, 0.5, 0.5, {"accuracy": value}, float(step))

        def save(step: int) -> None:
            log("wrote", trial=trial, path=str(checkpoint))
            session.saved(attempt, step)
            log("saved", trial=trial, step=step)

        toy.run(
            checkpoint, lr, save, lambda step, value: session.progress(attempt, point(step, value))
        )
        best = point(toy.steps, score(lr))
        return Outcome(Ending.finished, "to its end", best, (best,), 1.0, 1, 1, "toy", 1, "")

    def hold(self, job: Mapping[str, Any], log: Log) -> None:
        """Start trials as several workers, and answer while they run."""
        from search.study.open import load_study, open_study
        from search.study.session import join

        folder = Path(job["folder"])
        plan = load_study(folder).plan
        self._held = []
        for _ in range(job["num_trials"]):
            session = join(open_study(plan, folder))
            assert session.next_attempt() is not None
            self._held.append(session)

    def reap(self, job: Mapping[str, Any], log: Log) -> int:
        """Requeue stale trials; return how many this process requeued."""
        from search.study.heal import heal
        from search.study.open import load_study

        study = load_study(Path(job["folder"]))
        wait_until(job)
        ends = heal(study)
        study.tables.engine.dispose()
        return len(ends)


class Stock:
    """Does jobs with stock Optuna."""

    def __init__(self) -> None:
        import optuna
        import optuna.storages
        import sqlalchemy  # noqa: F401

        optuna.logging.set_verbosity(optuna.logging.ERROR)

    def work(self, job: Mapping[str, Any], log: Log) -> None:
        """Train trials until Optuna's callback has counted enough of them."""
        from optuna.storages import RetryHeartbeatStaleTrialCallback
        from optuna.study import MaxTrialsCallback
        from optuna.trial import FrozenTrial, Trial, TrialState

        toy, space = Toy(**job["toy"]), job["space"]

        def objective(trial: Trial) -> float:
            # Optuna 5.0 removed system_attrs from Trial, which its own example uses here.
            frozen = study._storage.get_trial(trial._trial_id)
            origin = RetryHeartbeatStaleTrialCallback.retried_trial_number(frozen)
            origin = trial.number if origin is None else origin
            lr = (
                float(trial.suggest_categorical("lr", space["lr"]))
                if space["lr"]
                else trial.suggest_float("lr", 1e-4, 1e-2, log=True)
            )
            if "batch_size" in space:
                trial.suggest_categorical("batch_size", space["batch_size"])
            checkpoint = Path(job["folder"]) / "checkpoints" / f"{origin}.json"
            log(
                "began",
                trial=origin,
                number=trial.number,
                values=trial.params,
                step=step_of(checkpoint),
                path=str(checkpoint),
            )
            result = job.get("results", {}).get(str(trial.number))
            if result is not None:
                return float(result)

            def save(step: int) -> None:
                log("wrote", trial=origin, path=str(checkpoint))
                log("saved", trial=origin, step=step)

            toy.run(checkpoint, lr, save, lambda step, value: trial.report(value, step))
            return score(lr)

        def log_result(study: Any, trial: FrozenTrial) -> None:
            if trial.state is TrialState.COMPLETE:
                origin = trial.system_attrs.get("failed_trial", trial.number)
                log("confirmed", trial=origin, number=trial.number, value=trial.value)

        study = self._open(job)
        log("joined", worker=None)
        wait_until(job)
        limit = MaxTrialsCallback(job["num_trials"], states=(TrialState.COMPLETE,))
        study.optimize(objective, callbacks=[log_result, limit])
        study._storage._backend.engine.dispose()

    def hold(self, job: Mapping[str, Any], log: Log) -> None:
        """Start trials, and answer while they run."""
        study = self._open(job)
        for _ in range(job["num_trials"]):
            trial = study.ask()
            trial.suggest_float("lr", 1e-4, 1e-2, log=True)
            study._storage.record_heartbeat(trial._trial_id)

    def reap(self, job: Mapping[str, Any], log: Log) -> None:
        """Requeue stale trials, as every worker does before each trial."""
        import optuna

        study = self._open(job)
        wait_until(job)
        optuna.storages.fail_stale_trials(study)
        study._storage._backend.engine.dispose()

    def _open(self, job: Mapping[str, Any]) -> Any:
        import optuna

        sampler = optuna.samplers.TPESampler(seed=job["seed"])
        return optuna.load_study(
            study_name=job["name"], storage=stock_storage(job["url"]), sampler=sampler
        )


def stock_storage(url: str) -> Any:
    """Return Optuna's storage with the protection against faults from its documentation."""
    from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback

    # Waits ten times as long for a lock as the documentation's example.
    more = {"connect_args": {"timeout": 100}} if url.startswith("sqlite") else {}
    return RDBStorage(
        url,
        engine_kwargs=more,
        heartbeat_interval=HEARTBEAT_SECONDS,
        grace_period=int(GRACE_SECONDS),
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
    )


def wait_until(job: Mapping[str, Any]) -> None:
    """Sleep until the common start time of a race."""
    time.sleep(max(0.0, job.get("start", 0.0) - time.time()))


def jobs() -> Iterator[dict[str, Any]]:
    while line := sys.stdin.readline():
        yield json.loads(line)


def main() -> int:
    """Do the jobs from standard input; return 1 after one that raised an error."""
    import warnings

    warnings.simplefilter("ignore")
    worker = {"finesweep": Finesweep, "stock": Stock}[sys.argv[1]]()
    print("ready", flush=True)
    for job in jobs():
        if job["database"]:
            os.environ["FINESWEEP_STORAGE"] = job["url"]
        else:
            os.environ.pop("FINESWEEP_STORAGE", None)
        log = Log(job["log"])
        try:
            answer = getattr(worker, job["do"])(job, log)
        except Exception as error:
            log("died", reason=repr(error)[:300])
            print(json.dumps({"died": True}), flush=True)
            raise
        finally:
            log.close()
        print(json.dumps({"answer": answer}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
