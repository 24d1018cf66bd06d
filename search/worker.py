"""A worker process: `python -m search.worker STUDY_FOLDER EVENT_DESCRIPTOR`.

It trains trials of the study and writes events to the descriptor. It stops in order, saving a
checkpoint, on SIGINT or SIGTERM and when its standard input closes, that is, when whoever
started it is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from lightning_modules.error import UserError
from search.event import Event, Note, to_line
from search.lease import this_worker
from search.loop import work
from search.quiet import quiet_training
from search.study import load_study


def stop_on_signals() -> Callable[[], bool]:
    """Let SIGINT and SIGTERM set a flag; return the function that reads it.

    Saving belongs between two steps, never into a signal handler.
    """
    asked = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        asked.set()

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    return asked.is_set


def main(folder: Path, descriptor: int) -> int:
    """Run the worker; return its exit code."""
    signalled = stop_on_signals()
    orphaned = threading.Event()
    threading.Thread(target=_watch_parent, args=(orphaned,), daemon=True).start()
    events = os.fdopen(descriptor, "w", buffering=1)

    def emit(event: Event) -> None:
        try:
            events.write(to_line(event))
        except BrokenPipeError:
            orphaned.set()

    quiet_training()
    try:
        work(load_study(folder), this_worker(), lambda: signalled() or orphaned.is_set(), emit)
    except UserError as error:
        emit(Note(str(error)))
        return 2
    except Exception as error:
        traceback.print_exc()
        emit(Note(f"{type(error).__name__}: {error}"))
        return 1
    return 0


def _watch_parent(orphaned: threading.Event) -> None:
    while os.read(0, 1):
        pass
    orphaned.set()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
