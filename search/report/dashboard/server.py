"""A study in the browser: optuna-dashboard behind access rules.

By itself, optuna-dashboard has no login, answers to any host name, lets any page that its user
visits delete a study, and shows HTML artifacts as its own pages. Here

- the server listens on localhost only and under its own names: a foreign name that resolves to
  127.0.0.1 (DNS rebinding) is refused;
- only notes of studies and trials can be written, and only from our own pages: no trial can be
  deleted, added or given a result;
- artifacts other than our pictures and tables are downloads, even if they claim to be pages.

All reads use connections that cannot write. SQLite then treats our `BEGIN IMMEDIATE` as a read, and
a reader never blocks a worker, even if the reader is stopped in the middle.
"""

from __future__ import annotations

import errno
import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from functools import cache
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from lightning_modules.error import ConfigError, Problem, Verbatim
from search.report.dashboard.artifact import TYPES, ArtifactStore
from search.storage.engine import open_storage
from search.storage.location import file_of, is_local, storage_of
from search.study.open import load_study, read_stored, study_folders

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from optuna.storages import RDBStorage

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
MAX_NOTE_BYTES = 1_000_000

_NOTE = re.compile(r"/api/studies/[0-9]+(/[0-9]+)?/note")


class Access:
    """The access rules, in front of the application.

    Attributes:
        reading: Handles requests that change nothing.
        writing: Handles requests that change a note.

    """

    def __init__(self, reading: WSGIApplication, writing: WSGIApplication) -> None:
        self.reading = reading
        self.writing = writing

    def __call__(self, request: WSGIEnvironment, answer: StartResponse) -> Iterable[bytes]:
        """Handle a request."""
        reason = refusal(request)
        if reason is not None:
            # With an unread body, closing would reset the connection before the answer is read.
            request["wsgi.input"].read(min(_num_bytes(request), MAX_NOTE_BYTES))
            body = json.dumps({"reason": reason}).encode()
            answer("403 Forbidden", [("Content-Type", "application/json")])
            return [body]

        path = request["PATH_INFO"]
        # optuna-dashboard fails on a client that sends no such header.
        request.setdefault("HTTP_ACCEPT_ENCODING", "identity")

        def guarded(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return answer(status, _guarded(path, headers), *more)

        if not _only_reads(request):
            return _as_json(self.writing, request, guarded)
        page = self.reading(request, guarded)
        return _styled(page) if path.startswith("/dashboard") else page


def refusal(request: WSGIEnvironment) -> str | None:
    """Return why a request is refused, or None."""
    host = request.get("HTTP_HOST", "")
    if re.sub(r":[0-9]+$", "", host) not in NAMES:
        return f"This dashboard only answers as {' or '.join(NAMES)}."
    if _only_reads(request):
        return None
    # A browser names the site that sends a write; other programs need not.
    is_ours = request.get("HTTP_ORIGIN", f"http://{host}") == f"http://{host}"
    if not is_ours or request.get("HTTP_SEC_FETCH_SITE", "same-origin") != "same-origin":
        return "This request came from another site."
    if request["REQUEST_METHOD"] != "PUT" or not _NOTE.fullmatch(request["PATH_INFO"]):
        return "This dashboard can only change notes, so that no trial is lost."
    if _num_bytes(request) > MAX_NOTE_BYTES:
        return f"A note can have at most {MAX_NOTE_BYTES:,} bytes."
    return None


def _num_bytes(request: WSGIEnvironment) -> int:
    length = request.get("CONTENT_LENGTH", "")
    return int(length) if length.isdecimal() else 0


def _only_reads(request: WSGIEnvironment) -> bool:
    return request["REQUEST_METHOD"] in ("GET", "HEAD")


def _guarded(path: str, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return an answer's headers, with those that restrict it to our own pages."""
    kept = [header for header in headers if header[0].lower() != "access-control-allow-origin"]
    kept += [
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Referrer-Policy", "no-referrer"),
    ]
    if path.startswith("/dashboard"):
        kept = [header for header in kept if header[0].lower() != "content-length"]
    if path.startswith("/artifacts/"):
        kept.append(("Content-Security-Policy", "default-src 'none'; sandbox"))
        kind = dict(headers).get("Content-Type", "").partition(";")[0]
        if kind not in TYPES.values():
            kept.append(("Content-Disposition", "attachment"))
    return kept


def _as_json(app: WSGIApplication, request: WSGIEnvironment, answer: StartResponse) -> list[bytes]:
    """Return a write's answer as JSON: the page of 0.21 treats an empty one as a failure."""

    def filled(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        if status.startswith("204"):
            status, headers = "200 OK", [("Content-Type", "application/json")]
        return answer(status, headers, *more)

    return [b"".join(app(request, filled)) or b"{}"]


# Long attributes would make a trial's page wider than the window, and tables in notes have no space
# between columns. What the access rules refuse is not offered.
_REFUSED = (
    "button:has([data-testid=AddBoxIcon])",  # create a study
    "[aria-label='rename study']",
    "[aria-label='delete study']",
    "[aria-label='delete artifact']",
    "[aria-label='skip trial']",
    "button:has([data-testid=StopCircleIcon])",  # fail a trial
    ".MuiCard-root:has(> .MuiCardActionArea-root input[type=file])",  # upload a file
)
_STYLE = (
    "<style>main{min-width:0} td,th{padding-right:1em;text-align:left} "
    f"{','.join(_REFUSED)}{{display:none!important}}</style>"
).encode()


def _styled(page: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the page with our style."""
    with closing(page) if isinstance(page, _Closable) else nullcontext():
        html = b"".join(page)
    yield html.replace(b"</head>", _STYLE + b"</head>")


@runtime_checkable
class _Closable(Protocol):
    def close(self) -> None: ...


def build_app(folder: Path) -> Access:
    """Return the dashboard of the study in `folder`, behind the access rules."""
    from optuna.storages import get_storage
    from optuna_dashboard import wsgi  # type: ignore[import-untyped]

    _log_errors_alone()
    url = storage_of(folder)
    artifacts = _artifacts(folder)
    # `get_storage` keeps ended trials in memory.
    reading = wsgi(get_storage(_read_only(url)), artifacts)
    return Access(reading, wsgi(open_storage(url), artifacts))


def build_app_of_all(root: Path) -> Access:
    """Return the dashboard of all studies under `root`, behind the access rules.

    Studies that start later appear too.
    """
    from optuna.storages import get_storage
    from optuna_dashboard import wsgi

    from search.report.dashboard.together import ArtifactsTogether, Together

    _log_errors_alone()

    def find() -> Sequence[Path]:
        return _readable(root)[0]

    # Studies of one server share its connections.
    read = cache(lambda url: get_storage(_read_only(url)))
    write = cache(open_storage)
    reading = Together(find, lambda folder: read(storage_of(folder)))
    # Found by the first one, so that both have each study at the same place.
    writing = Together(lambda: reading.folders, lambda folder: write(storage_of(folder)))
    artifacts = ArtifactsTogether(reading, lambda folder: _artifacts(folder).open_reader)
    app = wsgi(reading, artifacts)

    def with_pictures(request: WSGIEnvironment, answer: StartResponse) -> Iterable[bytes]:
        request["PATH_INFO"] = reading.picture_path(request["PATH_INFO"])
        return app(request, answer)  # type: ignore[no-any-return]

    return Access(with_pictures, wsgi(writing, artifacts))


def _readable(root: Path) -> tuple[list[Path], list[str]]:
    """Return the folders of the studies under `root`, and of each that cannot be read, why."""
    found, unread = [], []
    for folder in study_folders(root):
        try:
            if read_stored(folder) is not None:
                found.append(folder)
        except ConfigError as error:  # a damaged study must not hide the others
            unread.append(f"{folder.name}: {error.problems[0]}")
    return found, unread


def _log_errors_alone() -> None:
    """Leave out the warning that two trials are too few for importances."""
    logging.getLogger("optuna_dashboard").setLevel(logging.ERROR)


def _artifacts(folder: Path) -> ArtifactStore:
    return ArtifactStore(folder, lambda each: load_study(each).plan.default.task.metric)


def _read_only(url: str) -> RDBStorage:
    """Open the storage like a worker does, but on connections that cannot write."""
    from sqlalchemy import event

    storage = open_storage(url)

    def cannot_write(dialect: Any, record: Any, arguments: list[Any], options: Any) -> None:
        if is_local(url):
            arguments[0] = f"{file_of(url).resolve().as_uri()}?mode=ro"
            options["uri"] = True
        else:
            options["options"] = "-c default_transaction_read_only=on"

    event.listen(storage.engine, "do_connect", cannot_write)
    storage.engine.dispose()
    return storage


class Server(ThreadingMixIn, WSGIServer):
    """Serves studies on localhost, with one thread per request.

    Attributes:
        page: The address of its first page.
        unread: Why each of the studies that it does not show cannot be read.

    """

    daemon_threads = True
    request_queue_size = 64  # a browser opens several connections at once
    page: str
    unread: Sequence[str] = ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing if the browser has disconnected."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(WSGIRequestHandler):
    timeout = 60  # seconds for a request to arrive, so that idle connections end

    def log_message(self, format: str, *args: Any) -> None:
        pass


def open_dashboard(folder: Path, name: str, port: int) -> Server:
    """Return a listening server of the study `name` in `folder`; port 0 takes a free one.

    Raises:
        ConfigError: The port is in use or not permitted.

    """
    server = _listening(port)
    server.set_app(build_app(folder))
    study_id = open_storage(storage_of(folder)).get_study_id_from_name(name)
    server.page = f"http://{HOST}:{server.server_port}/dashboard/studies/{study_id}"
    return server


def open_dashboard_of_all(root: Path, port: int) -> Server:
    """Return a listening server of all studies under `root`; port 0 takes a free one.

    Raises:
        ConfigError: The port is in use or not permitted, or there is no study.

    """
    if not study_folders(root):
        fix = "Start one with finesweep sweep study=NAME."
        raise ConfigError(Problem("dashboard", "there must be a study here", Verbatim("none"), fix))
    server = _listening(port)
    server.set_app(build_app_of_all(root))
    server.page = f"http://{HOST}:{server.server_port}/dashboard"
    server.unread = _readable(root)[1]
    return server


def _listening(port: int) -> Server:
    try:
        return Server((HOST, port), _Handler)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        fix = f"Set port={port + 1}, or port=0 for any free one."
        raise ConfigError(Problem("port", f"must be free on {HOST}", port, fix)) from None
