"""A process that has imported what a worker needs, and forks a worker on request.

The imports take one core some 8 s, and what was imported lies in memory once for all workers. So a
worker that ended is replaced within a second, and several start as fast as one. Measured by
`benchmarks/worker_start.py`.

The forkserver trains nothing and runs no thread but those of libraries that stop them for a fork
(OpenBLAS, jemalloc), which is what makes it sound to fork. It forks twice and lets the process
between the two end: the worker's parent is then the engine's process, which has asked to be given
such orphans (Linux' child subreaper). So the engine itself sees how a worker ended, and a
forkserver that dies takes nothing with it.

It is not used if there are GPUs: a CUDA context does not survive a fork, and a library may make one
while it is imported. There, and if there is no subreaper, each worker is a process of its own from
the start.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO

_SET_SUBREAPER, _GET_SUBREAPER = 36, 37  # of Linux' prctl
_POLL_SECONDS = 0.5
_MAX_BYTES = 4096  # of a request or an answer


class Child:
    """A child of this process that another one has forked; used as one of `subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, -N for signal N, or None while it runs."""
        return self._waited(os.WNOHANG)

    def wait(self) -> int:
        """Return the exit code, when it has ended."""
        code = self._waited(0)
        assert code is not None
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def _waited(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


class Forkserver:
    """The forkserver of one engine, which runs in the calling process.

    Args:
        command: What starts it: a process that calls `serve`.
        environment: Its environment, and that of all workers.
        output: Where it prints.

    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], output: BinaryIO
    ) -> None:
        self._channel, theirs = socket.socketpair()
        self._channel.settimeout(_POLL_SECONDS)
        with theirs:
            self._process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,  # a Ctrl-C is not for it
            )

    def fork(
        self, lifeline: int, output: int, events: int, is_stopping: Callable[[], bool]
    ) -> Child | None:
        """Return a new worker, the first one after the imports.

        None where the forkserver has died, or `is_stopping` came first: it is of no further use.

        Args:
            lifeline: The descriptor that becomes its standard input.
            output: The one that becomes its standard output and error.
            events: The one that it writes to.
            is_stopping: Whether no worker is wanted any longer.

        """
        request = json.dumps({"engine": os.getpid()}).encode()
        try:
            socket.send_fds(self._channel, [request], [lifeline, output, events])
            while not is_stopping():
                with suppress(TimeoutError):
                    return self._answer()
            self._process.kill()
            self._process.wait()
            unwanted = self._answer()  # it may have been as fast
        except OSError:  # it has died
            return None
        if unwanted is not None:
            unwanted.send_signal(signal.SIGKILL)
            unwanted.wait()
        return None

    def _answer(self) -> Child | None:
        pid = self._channel.recv(_MAX_BYTES)
        return Child(int(pid)) if pid else None

    def close(self) -> None:
        """End it; its workers stay."""
        self._process.kill()
        self._process.wait()
        self._channel.close()


def serve() -> tuple[int, int]:
    """Fork a worker for each request on standard input; return in each of these.

    Returns: The descriptor of its events, and the process number of its engine.

    Raises:
        SystemExit: The engine is gone, or wants no more workers.

    """
    channel = socket.socket(fileno=os.dup(0))
    gc.collect()
    gc.freeze()  # a collection in a worker would write to, and so copy, all that is shared
    while True:
        request, descriptors, _, _ = socket.recv_fds(channel, _MAX_BYTES, 3)
        if not request:
            sys.exit(0)
        is_known, tell = os.pipe()
        worker = _fork_twice()
        if worker is None:
            os.close(tell)
            if not os.read(is_known, 1):  # the forkserver has died before it told of this worker
                os._exit(1)
            os.close(is_known)
            channel.close()
            return _settle(*descriptors), json.loads(request)["engine"]
        channel.sendall(str(worker).encode())
        os.write(tell, b"!")
        for descriptor in (is_known, tell, *descriptors):
            os.close(descriptor)


def _settle(lifeline: int, output: int, events: int) -> int:
    """Begin a session with these as the standard streams; return the events' descriptor."""
    os.setsid()
    for number, descriptor in ((0, lifeline), (1, output), (2, output)):
        os.dup2(descriptor, number)
    os.close(lifeline)
    os.close(output)
    return events


def _fork_twice() -> int | None:
    """Return the number of a grandchild whose parent has ended; in the grandchild None."""
    reading, writing = os.pipe()
    between = os.fork()
    if between == 0:
        worker = os.fork()
        if worker == 0:
            os.close(reading)
            os.close(writing)
            return None
        os.write(writing, str(worker).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        worker = int(pipe.read())
    os.waitpid(between, 0)
    return worker


@contextmanager
def adopting() -> Iterator[bool]:
    """Let orphans among this process's descendants become its children; say whether they do."""
    if sys.platform != "linux":
        yield False
        return
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    before = ctypes.c_int()
    prctl(_GET_SUBREAPER, ctypes.byref(before))
    is_adopting = prctl(_SET_SUBREAPER, 1) == 0
    try:
        yield is_adopting
    finally:
        prctl(_SET_SUBREAPER, before.value)


def is_buried(group: int) -> bool:
    """Reap those of a process group whom this process was given and who died; say if all have."""
    try:
        while os.waitpid(-group, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return True
    return False
