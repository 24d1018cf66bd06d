"""The process of a rank other than 0: `python -P -m lightning_modules.launch.follower FD INDEX`.

It trains the runs that rank 0 sends through file descriptor FD, one after the other, writes no
files except to the caches, and ends when the descriptor closes, i.e. when rank 0 ends.
"""

from __future__ import annotations

import io
import logging
import os
import pickle
import queue
import sys
import threading
import traceback
import warnings
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import torch

from lightning_modules.cache import Cache
from lightning_modules.callback.validation import ValidationTimes
from lightning_modules.datamodule import TextDataModule
from lightning_modules.distributed.group import Collective, GroupRank, Lost, Validated
from lightning_modules.feature import use_features
from lightning_modules.hooks import Hooks
from lightning_modules.launch import signals
from lightning_modules.machine.memory import free_memory, freeze_imports, keep_buffers
from lightning_modules.model.files.trust import take_trust
from lightning_modules.module import FineTuner
from lightning_modules.network import build_network
from lightning_modules.outcome import Ending, Record, Stopped
from lightning_modules.seed import seeded
from lightning_modules.task.base import REFERENCE
from lightning_modules.trainer import lightning_trainer

if TYPE_CHECKING:
    from torch import nn

    from lightning_modules.launch.leader import Start
    from lightning_modules.machine.lightning import Precision

STOP_SECONDS = 10.0
"""How long to wait, after a broken collective, for rank 0 to report that it has ended the run."""


class Channel:
    """The connection to rank 0; when it closes, this process ends at once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, kind: str, content: Any = None) -> None:
        """Send a message to rank 0."""
        self._connection.send_bytes(pickle.dumps((kind, content)))

    def receive(self, seconds: float | None = None) -> tuple[str, Any]:
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
    """A rank that follows rank 0."""

    def __init__(
        self, index: int, num_ranks: int, collective: Collective, channel: Channel
    ) -> None:
        super().__init__(index, num_ranks, collective)
        self._channel = channel
        self.has_stopped = False

    def synchronize(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, precision: Precision
    ) -> None:
        _, received = self._channel.receive()
        state, scale = torch.load(io.BytesIO(received), map_location="cpu", weights_only=True)
        optimizer.load_state_dict(state)
        if scale:
            precision.load_state_dict(scale)
        super().synchronize(network, optimizer, precision)

    def agree(self, value: int | None) -> int | None:
        agreed: int | None = self._receive_unless_stopped()
        return agreed

    def proceed(self) -> None:
        self._receive_unless_stopped()

    def _receive_unless_stopped(self) -> Any:
        kind, content = self._channel.receive()
        if kind == "stop":
            self.has_stopped = True
            raise Stopped(Ending.interrupted, "rank 0 has ended the run")
        return content

    def gather(self, validated: Validated) -> None:
        self._channel.send("validated", validated)

    def raise_unless_stopped(self, lost: Lost) -> None:
        """Raise `lost`, unless rank 0 broke the collective because it has ended the run."""
        try:
            kind, _ = self._channel.receive(STOP_SECONDS)
        except queue.Empty:
            raise lost from None
        if kind != "stop":
            raise lost


def main(descriptor: int, index: int) -> None:
    """Train runs until rank 0 ends or a run fails; then end the process."""
    signals.ignore()
    channel = Channel(Connection(descriptor))
    _silence()
    keep_buffers()
    freeze_imports()
    cache = Cache()
    try:
        while True:
            _, (folder, path) = channel.receive()
            os.chdir(folder)
            sys.path[:] = path
            _, start = channel.receive()
            _follow(start, index, channel, cache)
            free_memory()
            channel.send("done")
    except Stopped as stop:  # raised on this rank, not by rank 0
        channel.send("stopped", (stop.ending.value, stop.reason))
    except Lost as lost:
        channel.send("lost", str(lost))
    except BaseException as error:
        traceback.print_exc()
        channel.send("failed", f"{type(error).__name__}: {error}")
    sys.stderr.flush()
    os._exit(1)  # exit handlers must not delay rank 0 from noticing


def _follow(start: Start, index: int, channel: Channel, cache: Cache) -> None:
    run, hardware = start.run, start.hardware
    torch.set_num_threads(start.num_threads)
    hardware.use_tensor_cores()
    tokenizer = start.tokenizer
    data = TextDataModule(run, start.splits, start.labels, tokenizer, start.step, cache=cache)
    data.add_column(REFERENCE, start.reference)
    network = build_network(run, start.labels, cache, tokenizer, hardware, index)
    use_features(data, run, network, hardware, cache, Hooks())
    record = Record(step=start.step)
    tuner = FineTuner(
        run, network, data.length, data.validation, data.validation_batches, record, Hooks()
    )
    times = ValidationTimes(data.length.validation_steps(run.trainer.validations_per_epoch))
    trainer = lightning_trainer(hardware, [times], index)
    channel.send("ready")
    device = torch.device(hardware.place(index))
    collective = Collective(start.rendezvous, index, hardware.num_devices, device)
    tuner.rank = rank = Follower(index, hardware.num_devices, collective, channel)
    # If the run ends on this rank first, the collective stays open until the process ends, so that
    # rank 0 receives the reason before its own sum fails.
    try:
        with seeded(run.seed, "fit"):
            trainer.fit(tuner, data)
        rank.proceed()
        raise Lost("rank 0 continued after the last step")
    except Stopped:
        if not rank.has_stopped:
            raise
    except Lost as lost:
        rank.raise_unless_stopped(lost)
    collective.close()


def _silence() -> None:
    """Turn off warnings and log lines that rank 0 prints too."""
    warnings.filterwarnings("ignore")
    for name in ("pytorch_lightning", "lightning_fabric"):
        for part in (name, f"{name}.utilities.rank_zero"):
            logging.getLogger(part).setLevel(logging.ERROR)


if __name__ == "__main__":
    main(*map(int, take_trust(sys.argv[1:])))
