"""Rank 0's side of a run on several devices: start the other ranks and lead them.

The process that calls `fit` is rank 0. The others are child processes
(`lightning_modules.launch.follower`). They stay alive between runs, as long as the `Cache` that
holds them, because their imports take longer than a short trial. If anything goes wrong in a run,
all of them are killed and the next run starts new ones.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lightning_modules.distributed.group import Collective, GroupRank, Lost, Rank, Validated
from lightning_modules.launch import signals
from lightning_modules.model.files.trust import trust_arguments
from lightning_modules.outcome import Ending, Stopped

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedTokenizerBase

    from lightning_modules.check import CheckedRows
    from lightning_modules.machine.hardware import Hardware
    from lightning_modules.machine.lightning import Precision
    from lightning_modules.rows.corpus import Row
    from lightning_modules.run import Run

EXPLAIN_SECONDS = 10.0
"""How long to wait for a lost rank to report its reason."""
DONE_SECONDS = 60.0
"""How long to wait for the other ranks to finish a run before they are replaced."""

# If several ranks report, the kind that comes first here is the cause; `lost` is a consequence.
_END_KINDS = ("failed", "stopped", "died", "lost")


class RankFailed(RuntimeError):
    """A rank other than 0 ended before the run did."""


@dataclass(frozen=True)
class Start:
    """The message that starts a run on another rank.

    Attributes:
        run: The run.
        hardware: The hardware that it trains on.
        splits: The training and validation rows.
        labels: The labels in the order of their class numbers.
        tokenizer: The run's tokenizer.
        step: Optimizer steps already done.
        num_threads: CPU threads of each rank.
        rendezvous: The file through which the ranks connect.
        reference: What the network before the training says of each example, by split.

    """

    run: Run
    hardware: Hardware
    splits: Mapping[str, Sequence[Row]]
    labels: tuple[str, ...]
    tokenizer: PreTrainedTokenizerBase
    step: int
    num_threads: int
    rendezvous: str
    reference: Mapping[str, Tensor]


@dataclass
class _Follower:
    index: int
    process: subprocess.Popen[bytes]
    connection: Connection
    end: tuple[str, Any] | None = None

    def send(self, kind: str, content: Any = None) -> None:
        try:
            self.connection.send_bytes(pickle.dumps((kind, content)))
        except OSError as error:
            raise Lost(f"rank {self.index} has ended") from error

    def receive(self, expected: str) -> Any:
        try:
            kind, content = pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise Lost(f"rank {self.index} has ended") from error
        if kind != expected:
            self.end = (kind, content)
            raise Lost(f"rank {self.index} {kind}")
        return content

    def poll(self) -> tuple[str, Any] | None:
        """Return how and why this rank has left the run; None if it has not."""
        try:
            while self.end is None and self.connection.poll():
                kind, content = pickle.loads(self.connection.recv_bytes())
                if kind in _END_KINDS:
                    self.end = (kind, content)
        except (EOFError, OSError):
            code = self.process.poll()
            if code is not None:
                self.end = ("died", _cause_of_death(code))
        return self.end


class Followers:
    """The other ranks of runs on `num_ranks` devices; a single device has none."""

    def __init__(self, num_ranks: int) -> None:
        self._num_ranks = num_ranks
        self._followers: list[_Follower] = []
        self._finalizer = weakref.finalize(self, _kill, self._followers, os.getpid())

    def start(self) -> None:
        """Start the missing processes; they import while the caller continues."""
        if any(follower.process.poll() is not None for follower in self._followers):
            self.kill()
        if not self._followers:
            for index in range(1, self._num_ranks):
                self._followers.append(_start(index))

    def kill(self) -> None:
        """Kill the processes."""
        _kill(self._followers, os.getpid())

    @contextmanager
    def lead(
        self,
        run: Run,
        hardware: Hardware,
        checked: CheckedRows,
        tokenizer: PreTrainedTokenizerBase,
        step: int,
        reference: Mapping[str, Tensor],
    ) -> Iterator[Rank]:
        """Start the run on every rank; when the block ends, end it on all of them.

        The rows must be tokenized already: the other ranks read them from the cache.

        Raises:
            RankFailed: Another rank failed or died; gives its reason.
            Stopped: Another rank ended the run, e.g. because it diverged.

        """
        if self._num_ranks == 1:
            yield Rank()
            return
        self.start()
        num_threads = torch.get_num_threads()
        share = max(1, num_threads // self._num_ranks)
        torch.set_num_threads(share)
        try:
            with tempfile.TemporaryDirectory(prefix="finesweep-ranks-") as folder:
                splits = {name: checked.corpus.splits[name] for name in ("train", "validation")}
                rendezvous = str(Path(folder) / "rendezvous")
                start = Start(
                    run,
                    hardware,
                    splits,
                    checked.labels,
                    tokenizer,
                    step,
                    share,
                    rendezvous,
                    reference,
                )
                with self._following(start) as rank:
                    yield rank
        except Stopped:
            raise
        except BaseException as error:
            cause = self._cause(EXPLAIN_SECONDS if isinstance(error, Lost) else 0.0)
            self.kill()
            if cause is None or not isinstance(error, Exception):
                raise
            raise cause from error
        finally:
            torch.set_num_threads(num_threads)

    @contextmanager
    def _following(self, start: Start) -> Iterator[Rank]:
        self._send("place", (str(Path.cwd()), sys.path))
        self._send("start", start)
        self._receive("ready")  # no timeout: loading may take long, and a dead rank raises
        device = torch.device(start.hardware.device.value, 0)
        collective = Collective(start.rendezvous, 0, self._num_ranks, device)
        finished = threading.Event()
        if device.type == "cuda":
            threading.Thread(target=self._watch, args=(collective, finished), daemon=True).start()
        try:
            yield _Leader(self._num_ranks, collective, self._followers)
        except Stopped:
            self._stop(collective)
            raise
        else:
            self._stop(collective)
        finally:
            finished.set()
            collective.close()

    def _stop(self, collective: Collective) -> None:
        """End the run on the other ranks; failures here no longer affect the run's outcome."""
        try:
            self._send("stop")
            collective.close()  # wakes a rank that waits in a sum
            deadline = time.monotonic() + DONE_SECONDS
            for follower in self._followers:
                while follower.connection.poll(max(0.0, deadline - time.monotonic())):
                    kind, _ = pickle.loads(follower.connection.recv_bytes())
                    if kind == "done":
                        break
                else:
                    raise Lost(f"rank {follower.index} did not finish in time")
        except (Lost, EOFError, OSError):
            self.kill()

    def _send(self, kind: str, content: Any = None) -> None:
        for follower in self._followers:
            follower.send(kind, content)

    def _receive(self, kind: str) -> None:
        for follower in self._followers:
            follower.receive(kind)

    def _cause(self, seconds: float) -> Exception | None:
        """Return what to raise for a rank that has left the run; wait up to `seconds` for it."""
        deadline = time.monotonic() + seconds
        while True:
            ends = [
                (follower, end)
                for follower in self._followers
                if (end := follower.poll()) is not None
            ]
            ends.sort(key=lambda pair: _END_KINDS.index(pair[1][0]))
            is_cause_known = bool(ends) and ends[0][1][0] != "lost"
            if is_cause_known or time.monotonic() >= deadline:
                break
            time.sleep(0.02)
        if not ends:
            return None
        follower, (kind, content) = ends[0]
        if kind == "stopped":
            return Stopped(Ending(content[0]), content[1])
        return RankFailed(f"rank {follower.index} of {self._num_ranks} {kind}: {content}")

    def _watch(self, collective: Collective, finished: threading.Event) -> None:
        # NCCL would wait for a dead rank until its timeout.
        while not finished.wait(1.0):
            if any(follower.process.poll() is not None for follower in self._followers):
                collective.close()
                return


class _Leader(GroupRank):
    def __init__(
        self, num_ranks: int, collective: Collective, followers: Sequence[_Follower]
    ) -> None:
        super().__init__(0, num_ranks, collective)
        self._followers = followers

    def synchronize(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, precision: Precision
    ) -> None:
        state = io.BytesIO()
        torch.save((optimizer.state_dict(), precision.state_dict()), state)
        for follower in self._followers:
            follower.send("optimizer", state.getvalue())
        super().synchronize(network, optimizer, precision)

    def agree(self, value: int | None) -> int | None:
        for follower in self._followers:
            follower.send("agreed", value)
        return value

    def proceed(self) -> None:
        for follower in self._followers:
            follower.send("proceed")

    def gather(self, validated: Validated) -> list[Validated]:
        return [validated, *(follower.receive("validated") for follower in self._followers)]


def _start(index: int) -> _Follower:
    ours, theirs = Pipe()
    with theirs, signals.blocked():
        process = subprocess.Popen(
            # -P: a folder here with the name of one of our packages must not be imported.
            [
                sys.executable,
                "-P",
                "-m",
                "lightning_modules.launch.follower",
                *map(str, (theirs.fileno(), index)),
                *trust_arguments(),
            ],
            stdin=subprocess.DEVNULL,
            stdout=2,  # its output must not mix with that of rank 0
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            # Ctrl-C must reach only rank 0, which then stops the others in order.
            start_new_session=True,
        )
    return _Follower(index, process, ours)


def _kill(followers: list[_Follower], owner: int) -> None:
    if os.getpid() != owner:  # a forked data worker
        return
    for follower in followers:
        follower.connection.close()
        follower.process.kill()
    for follower in followers:
        follower.process.wait()
    followers.clear()


def _cause_of_death(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
