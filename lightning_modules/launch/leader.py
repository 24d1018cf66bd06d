"""Rank 0's side of a run on several devices: it starts the other ranks and leads them.

The process that calls `fit` is rank 0. The others are child processes
(`lightning_modules.launch.follower`) that stay from one run to the next, as long as the `Cache`
they are kept in: their imports take longer than a short trial. Whatever goes wrong in a run, all of
them are ended, and the next run starts new ones.
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
from lightning_modules.outcome import Ending, Stopped

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from lightning_modules.check import CheckedRows
    from lightning_modules.machine.hardware import Hardware
    from lightning_modules.rows.corpus import Row
    from lightning_modules.run import Run

EXPLAIN_SECONDS = 10.0
"""How long a rank that is lost has to say why."""
DONE_SECONDS = 60.0
"""How long the others have to put a run away before they are replaced."""

# Of what several ranks tell, the first of these is the cause: `lost` is what the others then see.
_NEWS = ("failed", "stopped", "died", "lost")


class RankFailed(RuntimeError):
    """Another rank than 0 ended before the run did."""


@dataclass(frozen=True)
class Start:
    """What another rank needs to know of a run.

    Attributes:
        run: The run.
        hardware: Where it trains.
        splits: The rows to train and to validate on.
        labels: The labels in the order of their class numbers.
        tokenizer: The run's.
        step: Optimizer steps already done.
        num_threads: CPU threads of each rank.
        meeting: The file by which the ranks find each other.

    """

    run: Run
    hardware: Hardware
    splits: Mapping[str, Sequence[Row]]
    labels: tuple[str, ...]
    tokenizer: PreTrainedTokenizerBase
    step: int
    num_threads: int
    meeting: str


@dataclass
class _Follower:
    index: int
    process: subprocess.Popen[bytes]
    line: Connection
    news: tuple[str, Any] | None = None

    def say(self, kind: str, content: Any = None) -> None:
        try:
            self.line.send_bytes(pickle.dumps((kind, content)))
        except OSError as error:
            raise Lost(f"rank {self.index} is gone") from error

    def hear(self, expected: str) -> Any:
        try:
            kind, content = pickle.loads(self.line.recv_bytes())
        except (EOFError, OSError) as error:
            raise Lost(f"rank {self.index} is gone") from error
        if kind != expected:
            self.news = (kind, content)
            raise Lost(f"rank {self.index} {kind}")
        return content

    def look(self) -> tuple[str, Any] | None:
        """Return why this rank has left the run, where it has."""
        try:
            while self.news is None and self.line.poll():
                kind, content = pickle.loads(self.line.recv_bytes())
                if kind in _NEWS:
                    self.news = (kind, content)
        except (EOFError, OSError):
            code = self.process.poll()
            if code is not None:
                self.news = ("died", _how_it_died(code))
        return self.news


class Followers:
    """The other ranks of runs on `num_ranks` devices; of one device there are none."""

    def __init__(self, num_ranks: int) -> None:
        self._num_ranks = num_ranks
        self._followers: list[_Follower] = []
        self._finalizer = weakref.finalize(self, _kill, self._followers, os.getpid())

    def start(self) -> None:
        """See to it that every rank has a process, which imports while the caller goes on."""
        if any(follower.process.poll() is not None for follower in self._followers):
            self.kill()
        if not self._followers:
            for index in range(1, self._num_ranks):
                self._followers.append(_start(index))

    def kill(self) -> None:
        """End the processes."""
        _kill(self._followers, os.getpid())

    @contextmanager
    def lead(
        self,
        run: Run,
        hardware: Hardware,
        checked: CheckedRows,
        tokenizer: PreTrainedTokenizerBase,
        step: int,
    ) -> Iterator[Rank]:
        """Begin the run on every rank, and end it on all of them, however it ends on this one.

        The rows must have been tokenized: the other ranks read them from the cache.

        Raises:
            RankFailed: Another rank has ended, with the reason.
            Stopped: Another rank has ended the run for a reason of the run's.

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
                meeting = str(Path(folder) / "meeting")
                start = Start(
                    run, hardware, splits, checked.labels, tokenizer, step, share, meeting
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
        self._say("place", (str(Path.cwd()), sys.path))
        self._say("start", start)
        self._hear("ready")  # may take as long as loading takes; a dead rank ends it
        device = torch.device(start.hardware.device.value, 0)
        collective = Collective(start.meeting, 0, self._num_ranks, device)
        over = threading.Event()
        if device.type == "cuda":
            threading.Thread(target=self._watch, args=(collective, over), daemon=True).start()
        try:
            yield _Leader(self._num_ranks, collective, self._followers)
        except Stopped:
            self._stop(collective)
            raise
        else:
            self._stop(collective)
        finally:
            over.set()
            collective.close()

    def _stop(self, collective: Collective) -> None:
        """End the run on the other ranks; the run itself has its outcome, whatever they do now."""
        try:
            self._say("stop")
            collective.close()  # a rank that waits in a sum wakes up
            deadline = time.monotonic() + DONE_SECONDS
            for follower in self._followers:
                while follower.line.poll(max(0.0, deadline - time.monotonic())):
                    kind, _ = pickle.loads(follower.line.recv_bytes())
                    if kind == "done":
                        break
                else:
                    raise Lost(f"rank {follower.index} is not done")
        except (Lost, EOFError, OSError):
            self.kill()

    def _say(self, kind: str, content: Any = None) -> None:
        for follower in self._followers:
            follower.say(kind, content)

    def _hear(self, kind: str) -> None:
        for follower in self._followers:
            follower.hear(kind)

    def _cause(self, seconds: float) -> Exception | None:
        """Return what to raise for a rank that has left the run; wait for it to say why."""
        deadline = time.monotonic() + seconds
        while True:
            told = [
                (follower, news)
                for follower in self._followers
                if (news := follower.look()) is not None
            ]
            told.sort(key=lambda pair: _NEWS.index(pair[1][0]))
            sure = bool(told) and told[0][1][0] != "lost"
            if sure or time.monotonic() >= deadline:
                break
            time.sleep(0.02)
        if not told:
            return None
        follower, (kind, content) = told[0]
        if kind == "stopped":
            return Stopped(Ending(content[0]), content[1])
        return RankFailed(f"rank {follower.index} of {self._num_ranks} {kind}: {content}")

    def _watch(self, collective: Collective, over: threading.Event) -> None:
        # NCCL waits for a dead rank until its timeout.
        while not over.wait(1.0):
            if any(follower.process.poll() is not None for follower in self._followers):
                collective.close()
                return


class _Leader(GroupRank):
    def __init__(
        self, num_ranks: int, collective: Collective, followers: Sequence[_Follower]
    ) -> None:
        super().__init__(0, num_ranks, collective)
        self._followers = followers

    def align(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        state = io.BytesIO()
        torch.save(optimizer.state_dict(), state)
        for follower in self._followers:
            follower.say("optimizer", state.getvalue())
        super().align(network, optimizer)

    def go(self) -> None:
        for follower in self._followers:
            follower.say("go")

    def gather(self, found: Validated) -> list[Validated]:
        return [found, *(follower.hear("found") for follower in self._followers)]


def _start(index: int) -> _Follower:
    ours, theirs = Pipe()
    with theirs:
        process = subprocess.Popen(
            # -P: a folder that is called as one of our packages must not be taken for it.
            [
                sys.executable,
                "-P",
                "-m",
                "lightning_modules.launch.follower",
                *map(str, (theirs.fileno(), index)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=2,  # what it prints is no part of what rank 0 answers
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            # A Ctrl-C reaches rank 0 alone, which ends the others in order.
            start_new_session=True,
        )
    return _Follower(index, process, ours)


def _kill(followers: list[_Follower], owner: int) -> None:
    if os.getpid() != owner:  # a forked data worker
        return
    for follower in followers:
        follower.line.close()
        follower.process.kill()
    for follower in followers:
        follower.process.wait()
    followers.clear()


def _how_it_died(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
