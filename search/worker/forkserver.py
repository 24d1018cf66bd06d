"""A process that has imported what a worker needs, and forks a worker on request.

The imports take about 5 s of one core, and their memory is shared by all workers. So a worker that
ended is replaced within a second, and several start as fast as one. Measured by
`benchmarks/worker_start.py`.

The forkserver trains nothing, and runs only threads of libraries that stop them for a fork
(OpenBLAS, jemalloc), so that forking is safe. It forks twice and lets the intermediate process end:
the worker's parent is then the engine's process, which adopts such orphans (Linux' child
subreaper). So the engine sees how each worker ended, and workers survive the forkserver.

It is not used with GPUs: a CUDA context does not survive a fork, and a library may create one while
it is imported. With GPUs, or without a subreaper, each worker is started as a new process.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO

from lightning_modules.machine.memory import freeze_imports

_SET_SUBREAPER, _GET_SUBREAPER = 36, 37  # options of Linux' prctl
_POLL_SECONDS = 0.5
_MAX_BYTES = 4096  # of a request or an answer


class Child:
    """A child process that another process forked, with part of the interface of `Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code (-N for signal N), or None while it runs."""
        return self._waited(os.WNOHANG)

    def wait(self) -> int:
        """Wait until it ends; return the exit code."""
        code = self._waited(0)
        assert code is not None
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def _waited(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


class Forkserver:
    """The forkserver of the engine in the calling process.

    Args:
        command: The command line of a process that calls `serve`.
        environment: The environment of the forkserver and all its workers.
        output: The file for its output.

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
                start_new_session=True,  # so that Ctrl-C does not reach it
            )

    def fork(
        self, lifeline: int, output: int, events: int, is_stopping: Callable[[], bool]
    ) -> Child | None:
        """Fork a worker and return it; the first call waits for the imports.

        None if the forkserver has died or `is_stopping` came first: it cannot be used again.

        Args:
            lifeline: The descriptor for the worker's standard input.
            output: The descriptor for its standard output and error.
            events: The descriptor for its events.
            is_stopping: Whether to give up because no worker is needed any more.

        """
        request = json.dumps({"engine": os.getpid()}).encode()
        try:
            socket.send_fds(self._channel, [request], [lifeline, output, events])
            while not is_stopping():
                with suppress(TimeoutError):
                    return self._answer()
            self._process.kill()
            self._process.wait()
            unwanted = self._answer()  # it may have forked meanwhile
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
        """End the forkserver; its workers continue."""
        self._process.kill()
        self._process.wait()
        self._channel.close()


def serve() -> tuple[int, int]:
    """Fork a worker for each request on standard input; return only in the workers.

    Returns: The descriptor for events, and the engine's PID.

    Raises:
        SystemExit: The engine is gone or needs no more workers.

    """
    channel = socket.socket(fileno=os.dup(0))
    freeze_imports()
    while True:
        request, descriptors, _, _ = socket.recv_fds(channel, _MAX_BYTES, 3)
        if not request:
            sys.exit(0)
        is_known, confirm = os.pipe()
        worker = _fork_twice()
        if worker is None:
            os.close(confirm)
            if not os.read(is_known, 1):  # the forkserver died before it reported this worker
                os._exit(1)
            os.close(is_known)
            channel.close()
            return _settle(*descriptors), json.loads(request)["engine"]
        channel.sendall(str(worker).encode())
        os.write(confirm, b"!")
        for descriptor in (is_known, confirm, *descriptors):
            os.close(descriptor)


def _settle(lifeline: int, output: int, events: int) -> int:
    """Start a session with these standard streams; return the descriptor for events."""
    os.setsid()
    for number, descriptor in ((0, lifeline), (1, output), (2, output)):
        os.dup2(descriptor, number)
    os.close(lifeline)
    os.close(output)
    return events


def _fork_twice() -> int | None:
    """Return the PID of a grandchild whose parent has ended; return None in the grandchild."""
    reading, writing = os.pipe()
    middle = os.fork()
    if middle == 0:
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
    os.waitpid(middle, 0)
    return worker


@contextmanager
def adopting() -> Iterator[bool]:
    """Adopt orphaned descendants as children of this process; yield whether this works."""
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


def reap_group(group: int) -> bool:
    """Reap the adopted dead processes of a group; return whether none is left."""
    try:
        while os.waitpid(-group, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return True
    return False
