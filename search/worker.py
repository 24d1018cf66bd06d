"""A worker process: `python -m search.worker STUDY_FOLDER EVENT_DESCRIPTOR`.

It trains trials of the study and writes events to the descriptor. It stops in order, saving a
checkpoint, on SIGINT or SIGTERM and when its standard input closes, that is, when whoever
started it is gone.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from pathlib import Path

from lightning_modules.error import UserError
from search.event import Event, Note, to_line
from search.interrupt import Interrupt
from search.lease import this_worker
from search.loop import work
from search.opening import load_study
from search.quiet import quiet_training


def main(folder: Path, descriptor: int) -> int:
    """Run the worker; return its exit code."""
    signalled = Interrupt()
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
