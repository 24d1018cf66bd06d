"""The worker process: `python -m search.worker STUDY_FOLDER [EVENT_DESCRIPTOR]`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lightning_modules.machine.memory import importing
from lightning_modules.model.files.trust import take_trust
from search.machine.process import Process
from search.machine.quiet import import_all
from search.worker.forkserver import serve


def _run(folder: str, descriptor: str | None = None) -> int:
    with importing():
        from search.worker.worker import main  # torch, Lightning, transformers

    if descriptor is not None:
        return main(Path(folder), int(descriptor), Process.of(os.getppid()))
    import_all()
    events, engine_pid = serve()
    return main(Path(folder), events, Process.of(engine_pid))


if __name__ == "__main__":
    sys.exit(_run(*take_trust(sys.argv[1:])))
