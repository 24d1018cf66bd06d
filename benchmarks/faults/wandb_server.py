"""A W&B server on this machine that speaks the routes its client uses, or fails in seven ways."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAULTS = ("hang", "refused", "closed", "500", "401", "html", "drip")
"""It never answers; nobody listens; it closes the connection; it answers with an error, with one
about the key, with the page of a hotel's network; or it sends a byte now and then, without an end.
"""
DRIP_SECONDS = 0.2


class WandbServer:
    """A server, and what it was asked.

    Attributes:
        fault: One of FAULTS, or None; may be changed while it runs.
        num_healthy: Requests that it answers before it fails.
        paths: The path of each request.
        lines: The lines of each run's history, by its id.
        files: The names of the files that it got.

    """

    def __init__(self, fault: str | None, num_healthy: int = 0) -> None:
        self.fault = fault
        self.num_healthy = num_healthy
        self.paths: list[str] = []
        self.lines: dict[str, list[dict[str, Any]]] = {}
        self.files: list[str] = []
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        handler = type("Handler", (_Handler,), {"server_of": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        if fault == "refused":
            self._server.server_close()
        else:
            threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def environment(self, home: str) -> dict[str, str]:
        """Return the environment of a process whose W&B uses this server, with a key."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
        return {**kept, "HOME": home, "WANDB_BASE_URL": self.url, "WANDB_API_KEY": "k" * 40}

    def stop(self) -> None:
        self.stopping.set()
        if self.fault != "refused":
            self._server.shutdown()
            self._server.server_close()


@contextmanager
def wandb_server(fault: str | None = None, num_healthy: int = 0) -> Iterator[WandbServer]:
    """Run a server."""
    server = WandbServer(fault, num_healthy)
    try:
        yield server
    finally:
        server.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print no traceback of a client that was killed while it was asking."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server_of: WandbServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server = self.server_of
        with server.lock:
            server.paths.append(self.path)
            is_healthy = server.fault is None or len(server.paths) <= server.num_healthy
        try:
            if server.fault is None or is_healthy:
                self._send(200, json.dumps(self._healthy(body)))
            else:
                self._fail(server.fault)
        except OSError:  # the client has gone
            self.close_connection = True

    def _fail(self, fault: str) -> None:
        if fault == "hang":
            self.server_of.stopping.wait()
        elif fault == "closed":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif fault in ("500", "401"):
            self._send(int(fault), json.dumps({"error": "it failed"}))
        elif fault == "html":
            self._send(200, "<html><body>Welcome to our network</body></html>", "text/html")
        else:
            self._send(200, " ", length=10**6)
            while not self.server_of.stopping.wait(DRIP_SECONDS):
                self.wfile.write(b" ")
                self.wfile.flush()

    def _healthy(self, body: bytes) -> dict[str, Any]:
        server = self.server_of
        if self.path == "/graphql":
            return {"data": self._graphql(**json.loads(body))}
        with server.lock:
            if self.path.startswith("/upload/"):
                server.files.append(self.path.removeprefix("/upload/"))
            elif self.path.endswith("/file_stream"):
                run = self.path.split("/")[-2]
                history = json.loads(body).get("files", {}).get("wandb-history.jsonl", {})
                lines = (json.loads(line) for line in history.get("content", ()))
                server.lines.setdefault(run, []).extend(lines)
        return {}

    def _graphql(
        self, query: str, variables: dict[str, Any] | None = None, **_: Any
    ) -> dict[str, Any]:
        variables = variables or {}
        if "createRunFiles" in query:
            names = variables["files"]
            urls = [{"name": n, "uploadUrl": f"{self.server_of.url}/upload/{n}"} for n in names]
            return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": urls}}
        if "upsertBucket" in query:
            name = variables["project"]
            project = {"id": "1", "name": name, "entity": {"id": "1", "name": "me"}}
            run = {"id": "1", "name": variables["name"], "config": "{}", "historyLineCount": 0}
            run |= {"displayName": None, "sweepName": None, "project": project}
            return {"upsertBucket": {"bucket": run, "inserted": True}}
        if "createArtifact(" in query:  # of a table; "COMMITTED": it has the files already
            sequence = {"id": "1", "latestArtifact": {"id": "1", "versionIndex": 0}}
            artifact = {"id": "1", "state": "COMMITTED", "artifactSequence": sequence}
            return {"createArtifact": {"artifact": artifact}}
        if "viewer" in query:
            viewer = {"id": "1", "entity": "me", "username": "me", "email": "me@here"}
            return {"viewer": {**viewer, "flags": "{}", "teams": {"edges": []}}}
        return {"serverInfo": {"features": []}}

    def _send(
        self, status: int, text: str, kind: str = "application/json", length: int | None = None
    ) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)
