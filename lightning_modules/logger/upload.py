"""Upload W&B's local runs while they are written, from a process that can be killed at any time.

W&B's own online mode makes a run wait for the server when it opens and when it closes: 28 to 37 s
per trial if the server hangs, refuses or fails. So runs are written offline, and a second process
of W&B's service reads their files and sends them, as `wandb sync` does. Training never waits for
it. The first failure ends it: the runs of this folder stay offline from there on.
"""

from __future__ import annotations

import queue
import shlex
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import wandb
    from wandb.sdk.lib.service.service_connection import ServiceConnection

ANSWER_SECONDS = 5.0  # for the server to say whose the API key is
REQUEST_SECONDS = 20.0  # for any later request
NUM_RETRIES = 4  # of a later request; with W&B's waits between them, about 30 s
FINISH_SECONDS = 30.0  # for a server that has answered, once no more runs are opened
HEADER_BYTES = 7  # of a run's file, before its first record
ERROR = 40  # the severity of W&B's messages on what failed
FAILED_FILE = "not-uploaded.txt"
"""In W&B's folder: why the runs there stay offline. Other processes read it and do not try."""


class UploadError(Exception):
    """The server or W&B's service refused or failed; str() says it in a line."""


class Uploads:
    """The runs of one folder that this process sends.

    Args:
        folder: The folder that has W&B's folder.
        connect: Starts W&B's second service; called once, by the first `add`.

    """

    def __init__(self, folder: Path, connect: Callable[[], Server]) -> None:
        self._folder = folder / "wandb"
        self._connect = connect
        self._files: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._notes: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        self._has_answered = False
        self._is_over = False
        self._deadline = 0.0
        self._num_added = 0
        self._num_sent = 0

    def add(self, file: Path) -> None:
        """Send a run's file, which may still be written; return at once."""
        if self._is_over or self._failed_file.exists():
            return
        if self._thread is None:
            self._deadline = time.monotonic() + ANSWER_SECONDS
            try:
                self._server = self._connect()
            except Exception as error:  # e.g. no API key, or no such process
                self._fail(error)
                return
            self._thread = threading.Thread(target=self._send_all, args=(self._server,))
            self._thread.daemon = True
            self._thread.start()
        self._num_added += 1
        self._files.put(file)

    def notes(self) -> list[str]:
        """Return what a person should know, each text once."""
        notes = []
        with suppress(queue.Empty):
            while True:
                notes.append(self._notes.get_nowait())
        return notes

    def close(self, max_seconds: float = FINISH_SECONDS) -> None:
        """Wait for the last runs for a bounded time, then end the process."""
        if self._thread is None:
            return
        assert self._server is not None
        self._files.put(None)
        try:
            self._thread.join(min(max_seconds, max(0.0, self._deadline - time.monotonic())))
            if self._has_answered:
                self._thread.join(max_seconds)
            if self._thread.is_alive() and not self._is_over:
                num_left = self._num_added - self._num_sent
                left = f"{num_left} {'run is' if num_left == 1 else 'runs are'} not uploaded yet"
                reason = left if self._has_answered else _SILENT
                self._fail(UploadError(f"{self._server.url}: {reason}"))
        finally:  # also on Ctrl-C
            self._server.kill()

    def _send_all(self, server: Server) -> None:
        """Send the files in turn, each until its run is finished."""
        try:
            server.authenticate()
            self._has_answered = True
            while (file := self._files.get()) is not None:
                if self._failed_file.exists():  # another process has noticed
                    break
                server.send(file)
                self._num_sent += 1
        except Exception as error:  # W&B's service has errors of many types
            self._fail(error)
        finally:
            self._is_over = True
            server.kill()

    def _fail(self, error: Exception) -> None:
        """Let the folder's runs stay offline, and say so once, whichever process notices first."""
        if self._is_over:
            return
        self._is_over = True
        reason = " ".join(str(error).split()) or type(error).__name__
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._failed_file.open("x", encoding="utf-8") as file:
                file.write(f"{reason}\n")
        except FileExistsError:
            return
        except OSError:  # e.g. the disk is full: others will say it, too
            pass
        self._notes.put(
            f"W&B: {reason}. The runs stay offline from here on; they are complete. "
            f"Send them later: {_sync_command(self._folder)}"
        )

    @property
    def _failed_file(self) -> Path:
        return self._folder / FAILED_FILE


def forget_failure(folder: Path) -> None:
    """Let the runs of a folder be sent again, although an earlier command could not send them."""
    with suppress(OSError):
        (folder / "wandb" / FAILED_FILE).unlink(missing_ok=True)


def unsent_note(folder: Path) -> str | None:
    """Return a sentence on the runs of a folder that are not uploaded, or not whole; None if none.

    A worker that was killed could not send the rest of its runs, and an earlier command perhaps
    had no server. None, too, if the server has failed in this command, which has said so.
    """
    if (folder / "wandb" / FAILED_FILE).exists():
        return None
    files = list((folder / "wandb").glob("offline-run-*/*.wandb"))
    with_records = [file for file in files if file.stat().st_size > HEADER_BYTES]
    num_left = sum(not file.with_suffix(".wandb.synced").exists() for file in with_records)
    if num_left == 0:
        return None
    are = "run here is" if num_left == 1 else "runs here are"
    return (
        f"W&B: {num_left} {are} not uploaded, or not whole, e.g. because a worker was killed. "
        f"Send what is left: {_sync_command(folder / 'wandb')}"
    )


def _sync_command(folder: Path) -> str:
    """Return the shell command that uploads the runs in W&B's folder, for any working folder."""
    return f"wandb sync {shlex.quote(str(folder.absolute()))}/offline-run-*"


_SILENT = f"the server did not answer within {ANSWER_SECONDS:g} s"


class Server:
    """A W&B server, and the process that talks to it. Uses W&B's own interfaces of version 0.31."""

    def __init__(self, settings: wandb.Settings) -> None:
        from wandb.sdk import wandb_setup
        from wandb.sdk.lib.service import service_process
        from wandb.sdk.lib.service.service_connection import ServiceConnection

        self.url = settings.base_url
        self._settings = settings
        self._asyncer = wandb_setup.singleton().asyncer
        started = service_process.start(settings)
        self._process = started._process
        client = started.token.connect(asyncer=self._asyncer)
        self._service: ServiceConnection = ServiceConnection(self._asyncer, client, started)

    def authenticate(self) -> None:
        """Ask the server whose the API key is.

        Raises:
            UploadError: It does not say so in time.

        """
        from wandb.proto import wandb_api_pb2 as pb
        from wandb.sdk.lib.service.service_connection import WandbApiFailedError

        settings = _bounded(self._settings, ANSWER_SECONDS, 1)
        who = pb.AuthRequest(authenticate_request=pb.AuthenticateRequest())
        try:
            session = self._service.api_init_request(settings.to_proto())
            request = pb.ApiRequest(api_id=session.api_id, auth_request=who)
            self._service.api_request(request, timeout=ANSWER_SECONDS)
        except WandbApiFailedError as error:
            silent = "did not respond in time" in str(error) or "Timeout" in str(error)
            text = _SILENT if silent else _last_try(str(error))
            raise UploadError(f"{self.url}: {text}") from error

    def send(self, file: Path) -> None:
        """Send a run; return when it is finished and sent.

        Raises:
            UploadError: The server refused it, or failed.

        """
        from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError

        settings = _bounded(self._settings, REQUEST_SECONDS, NUM_RETRIES)
        try:
            errors = self._asyncer.run(partial(_synced, self._service, settings, file))
        except (HandleAbandonedError, MailboxClosedError) as error:
            raise UploadError("the process that uploads has ended") from error
        if errors:
            raise UploadError(f"{self.url}: {_last_try(errors[0])}")

    def kill(self) -> None:
        """End the process at once, also while it waits for the server."""
        self._process.kill()
        self._process.wait()


async def _synced(service: ServiceConnection, settings: wandb.Settings, file: Path) -> list[str]:
    """Send a file until its last record; return the errors."""
    unchanged: dict[str, Any] = {"entity": "", "project": "", "run_id": "", "job_type": ""}
    made = await service.init_sync(
        {file}, settings, cwd=None, live=True, tag_replacements={}, **unchanged
    )
    started = await made.wait_async(timeout=REQUEST_SECONDS)
    done = await (await service.sync(started.id, parallelism=1)).wait_async(timeout=None)
    return [each.content for each in done.messages if each.severity >= ERROR]


def _last_try(text: str) -> str:
    """Return the reason of the last try, without W&B's account of the others.

    >>> _last_try("giving up after 2 attempt(s) while retrying: HTTP 500: oops")
    'HTTP 500: oops'
    """
    return text.rpartition("while retrying: ")[2]


def _bounded(settings: wandb.Settings, seconds: float, num_retries: int) -> wandb.Settings:
    """Return the settings with which no request waits for long."""
    bounded = settings.model_copy()
    for kind in ("graphql", "file_stream", "file_transfer"):
        setattr(bounded, f"x_{kind}_timeout_seconds", seconds)
        setattr(bounded, f"x_{kind}_retry_max", num_retries)
        setattr(bounded, f"x_{kind}_retry_wait_min_seconds", 1.0)
        setattr(bounded, f"x_{kind}_retry_wait_max_seconds", 10.0)
    return bounded
