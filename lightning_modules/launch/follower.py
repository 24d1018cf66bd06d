"""A process of another rank than 0: `python -P -m lightning_modules.launch.follower FD INDEX`.

It trains what rank 0 tells it through the descriptor, one run after the other, writes no file
but what is missing in a cache, and ends when the descriptor closes, that is, with rank 0.
"""

from __future__ import annotations

import io
import logging
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
import warnings
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import torch

from lightning_modules.cache import Cache
from lightning_modules.callback.validation import Due, validation_steps
from lightning_modules.datamodule import TextDataModule
from lightning_modules.distributed.group import Collective, GroupRank, Lost, Validated
from lightning_modules.hooks import Hooks
from lightning_modules.machine.hardware import Device
from lightning_modules.machine.memory import free_memory
from lightning_modules.module import FineTuner
from lightning_modules.network import build_network
from lightning_modules.outcome import Ending, Record, Stopped
from lightning_modules.seed import seeded
from lightning_modules.trainer import lightning_trainer

if TYPE_CHECKING:
    from torch import nn

    from lightning_modules.launch.leader import Start

STOP_SECONDS = 10.0
"""How long after a broken connection rank 0 may say that it has ended the run."""


class Line:
    """The connection to rank 0; this process ends when it closes, whatever it is doing."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def say(self, kind: str, content: Any = None) -> None:
        """Tell rank 0."""
        self._connection.send_bytes(pickle.dumps((kind, content)))

    def hear(self, seconds: float | None = None) -> tuple[str, Any]:
        """Return the next message; raise `queue.Empty` after `seconds`."""
        kind, content = pickle.loads(self._inbox.get(timeout=seconds))
        return kind, content

    def _read(self) -> None:
        try:
            while True:
                self._inbox.put(self._connection.recv_bytes())
        except (EOFError, OSError):
            os._exit(1)


class Follower(GroupRank):
    """A rank that does what rank 0 says."""

    def __init__(self, index: int, num_ranks: int, collective: Collective, line: Line) -> None:
        super().__init__(index, num_ranks, collective)
        self._line = line
        self.has_stopped = False

    def align(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        _, state = self._line.hear()
        optimizer.load_state_dict(
            torch.load(io.BytesIO(state), map_location="cpu", weights_only=True)
        )
        super().align(network, optimizer)

    def go(self) -> None:
        kind, _ = self._line.hear()
        if kind == "stop":
            self.has_stopped = True
            raise Stopped(Ending.interrupted, "rank 0 has ended the run")

    def gather(self, found: Validated) -> None:
        self._line.say("found", found)

    def stop_after(self, lost: Lost) -> None:
        """Go on quietly if rank 0 has ended the run in the midst of a sum; else raise `lost`."""
        try:
            kind, _ = self._line.hear(STOP_SECONDS)
        except queue.Empty:
            raise lost from None
        if kind != "stop":
            raise lost


def main(descriptor: int, index: int) -> None:
    """Train until rank 0 is gone or a run fails, and end the process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # rank 0 is told too, and decides
    line = Line(Connection(descriptor))
    _quiet()
    cache = Cache()
    try:
        while True:
            _, (folder, path) = line.hear()
            os.chdir(folder)
            sys.path[:] = path
            _, start = line.hear()
            _follow(start, index, line, cache)
            free_memory()
            line.say("done")
    except Stopped as stop:  # of this rank's own: rank 0 has not said so
        line.say("stopped", (stop.ending.value, stop.reason))
    except Lost as lost:
        line.say("lost", str(lost))
    except BaseException as error:
        traceback.print_exc()
        line.say("failed", f"{type(error).__name__}: {error}")
    sys.stderr.flush()
    os._exit(1)  # nothing may hold up the news that this rank is gone


def _follow(start: Start, index: int, line: Line, cache: Cache) -> None:
    run, hardware = start.run, start.hardware
    torch.set_num_threads(start.num_threads)
    tokenizer = start.tokenizer
    data = TextDataModule(run, start.splits, start.labels, tokenizer, start.step)
    network = build_network(run, start.labels, cache, tokenizer)
    record = Record(step=start.step)
    tuner = FineTuner(
        run, network, data.length, data.validation, data.validation_batches, record, Hooks()
    )
    due = Due(validation_steps(data.length, run.trainer.validations_per_epoch))
    trainer = lightning_trainer(hardware, [due], index)
    line.say("ready")
    device = torch.device(hardware.device.value, index if hardware.device is Device.cuda else 0)
    collective = Collective(start.meeting, index, hardware.num_devices, device)
    tuner.rank = rank = Follower(index, hardware.num_devices, collective, line)
    # Of a run that ends here by itself, rank 0 is told the reason before the connection breaks: the
    # end of the process breaks it.
    try:
        with seeded(run.seed, "fit"):
            trainer.fit(tuner, data)
        rank.go()
        raise Lost("rank 0 goes on after the last step")
    except Stopped:
        if not rank.has_stopped:
            raise
    except Lost as lost:
        rank.stop_after(lost)
    collective.close()


def _quiet() -> None:
    """Leave it to rank 0 to say what all ranks would say."""
    warnings.filterwarnings("ignore")
    for name in ("pytorch_lightning", "lightning_fabric"):
        for part in (name, f"{name}.utilities.rank_zero"):
            logging.getLogger(part).setLevel(logging.ERROR)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
