"""A worker process: `python -m search.worker STUDY_FOLDER EVENT_DESCRIPTOR`.

It trains trials of the study and writes events to the descriptor. It saves a checkpoint and stops
on the signals of `search.machine.signals`, and when its standard input closes because its engine is
gone. Without a descriptor it is the forkserver of the workers.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

from lightning_modules.error import UserError
from lightning_modules.machine.memory import freeze_imports, keep_buffers
from search.machine.card import limit_memory
from search.machine.process import Process
from search.machine.quiet import import_all, quiet_training
from search.machine.signals import Interrupt
from search.storage.lease import LeaseLost
from search.storage.location import shown, storage_of
from search.storage.retry import Retry, StorageGone
from search.study.open import load_study
from search.study.session import join
from search.worker.breaker import Breaker
from search.worker.event import Alive, Event, ExitCode, Joined, Note, to_line
from search.worker.loop import Emit, Replace, work


def main(folder: Path, descriptor: int, engine_process: Process) -> int:
    """Run the worker that `engine_process` started; return its exit code."""
    signalled = Interrupt(ends_at_second=False)  # the engine kills what does not stop
    orphaned = threading.Event()
    threading.Thread(target=_watch_parent, args=(orphaned,), daemon=True).start()
    events = os.fdopen(descriptor, "w", buffering=1)
    lock = threading.Lock()

    def emit(event: Event) -> None:
        try:
            with lock:
                events.write(to_line(event))
        except BrokenPipeError:
            orphaned.set()

    emit(Alive("starting"))
    import_all()
    freeze_imports()
    keep_buffers()
    limit_memory()
    try:
        _work(folder, engine_process, lambda: signalled() or orphaned.is_set(), emit)
    except UserError as error:
        emit(Note(str(error)))
        return ExitCode.wrong_input
    except Replace as reason:
        emit(Note(f"replacing the worker: {reason}"))
        return ExitCode.replace
    except StorageGone as error:
        emit(Note(str(error)))
        return ExitCode.failed
    except Exception as error:
        traceback.print_exc()
        emit(Note(f"{type(error).__name__}: {error}".splitlines()[0]))
        return ExitCode.failed
    return ExitCode.finished


def _work(
    folder: Path, engine_process: Process, interrupted: Callable[[], bool], emit: Emit
) -> None:
    while True:
        retry = Retry(
            storage=shown(storage_of(folder)),
            max_seconds=None,
            report=lambda text: emit(Note(text)),
            is_stopping=interrupted,
            waiting=lambda: emit(Alive("waiting for the storage")),
        )
        session = join(load_study(folder, retry), engine_process)
        emit(Joined(session.name))
        try:
            work(session, interrupted, emit)
        except LeaseLost as error:
            emit(Note(f"worker {session.name} lost its lease ({error}); rejoining"))
            session.leave(str(error))
        except (UserError, Replace) as reason:
            session.leave(str(reason))
            raise
        except BaseException as error:
            # The engine returns the trial of a worker process that failed; here there is none.
            if engine_process == Process.this():
                session.leave(f"{type(error).__name__}: {error}")
            raise
        else:
            session.leave()
            return


def work_here(folder: Path, emit: Emit) -> int:
    """Train in the calling process, e.g. for a debugger; return the exit code."""
    quiet_training()
    with Interrupt() as interrupt:
        return _work_here(folder, emit, interrupt)


def _work_here(folder: Path, emit: Emit, interrupt: Interrupt) -> int:
    breaker = Breaker()
    reasons: list[str] = []

    def emit_and_count(event: Event) -> None:
        emit(event)
        if reason := breaker.reason_to_stop(event):
            reasons.append(reason)
            emit(Note(reason))

    while True:
        try:
            _work(folder, Process.this(), lambda: interrupt() or bool(reasons), emit_and_count)
        except Replace as reason:
            emit(Note(f"{reason}; continuing in the same process"))
        else:
            return interrupt.exit_code or int(bool(reasons))


def _watch_parent(orphaned: threading.Event) -> None:
    while os.read(0, 1):
        pass
    orphaned.set()
