"""A hub on this machine: the routes that the real client of the hub asks for its files.

It answers as the live service does, by its documentation and the client's source: commits with
branches, tags and pull requests; `resolve` with the headers of a file, which redirects small files
to a cached copy and large ones to another host; gated, private and renamed repositories; and, on
request, every kind of failure. It holds no xet files, so the client uses plain HTTP.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".safetensors", ".bin", ".parquet", ".model")
"""Files that the hub keeps on another host, by their ending."""
PIECE = 16 * 1024


@dataclass
class Repo:
    """A repository: files by commit, and names of commits.

    Attributes:
        kind: `models` or `datasets`.
        name: `owner/name`.
        commits: Files by commit hash.
        refs: Commit hash by branch, tag or `refs/pr/N`.
        gated: Whether only those who accepted its terms get files; all see that it exists.
        private: Whether only its members see that it exists.
        members: The tokens of those who accepted its terms, or are members.
        prs: Title by number of its pull requests.
        author: Who made them.

    """

    kind: str
    name: str
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False
    members: set[str] = field(default_factory=set)
    prs: dict[int, str] = field(default_factory=dict)
    author: str = "SFconvertbot"

    def commit(self, files: Mapping[str, bytes], *refs: str) -> str:
        """Add a commit with these files, under names; return its hash."""
        digest = hashlib.sha1(usedforsecurity=False)
        for path, content in sorted(files.items()):
            digest.update(path.encode() + content)
        commit = digest.hexdigest()
        self.commits[commit] = dict(files)
        self.refs |= dict.fromkeys(refs or ("main",), commit)
        return commit


@dataclass
class Fault:
    """How requests fail whose method and path fit a pattern, e.g. `GET */model.safetensors`.

    Attributes:
        pattern: The requests.
        status: The answer's status; 0 answers as usual.
        headers: Headers of that answer.
        cut_after: Bytes after which the connection is cut.
        seconds: How long it waits before it answers.
        bytes_per_second: How fast it answers.
        times: How often it fails; then it works.

    """

    pattern: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    seconds: float = 0.0
    bytes_per_second: float = 0.0
    times: int = 1_000_000


@dataclass(frozen=True)
class Request:
    """A request as it arrived."""

    method: str
    path: str
    host: str
    token: str | None
    range: str | None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing of clients that go away."""


class Hub:
    """The server, its repositories and what it was asked."""

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.renamed: dict[tuple[str, str], str] = {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.tokens: set[str] = set()
        self.stopping = Event()
        self._server = _Server(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": self}))
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, name: str, files: Mapping[str, bytes], kind: str = "models") -> Repo:
        """Add a repository with one commit on its branch main."""
        repo = self.repos[kind, name] = Repo(kind, name)
        repo.commit(files)
        return repo

    def fail(self, pattern: str, **how: Any) -> Fault:
        """Let requests fail from now on."""
        fault = Fault(pattern, **how)
        self.faults.append(fault)
        return fault

    def paths(self, method: str = "*", ending: str = "") -> list[str]:
        """Return the paths of the requests so far."""
        asked = list(self.requests)
        return [r.path for r in asked if fnmatch(r.method, method) and r.path.endswith(ending)]

    def environment(self, home: Path) -> dict[str, str]:
        """Return the variables under which a client uses this hub, with its cache in a folder."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def stop(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def loopback_hub() -> Iterator[Hub]:
    """Run a hub."""
    hub = Hub()
    try:
        yield hub
    finally:
        hub.stop()


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder, by their path in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class _Refusal(Exception):
    def __init__(self, status: int, message: str, code: str | None = None, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.headers |= {"X-Error-Message": message}
        self.headers |= {} if code is None else {"X-Error-Code": code}


_API = re.compile(r"/api/(models|datasets)/(.+)")
_RESOLVE = re.compile(r"/(datasets/)?([^/]+(?:/[^/]+)?)/resolve/([^/]+)/(.+)")
_CACHED = re.compile(r"/api/resolve-cache/(models|datasets)/([^/]+/[^/]+)/([0-9a-f]{40})/(.+)")
_ROUTES = ("revision", "tree", "refs", "discussions", "paths-info")


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        authorization = self.headers.get("Authorization") or ""
        self.token = authorization.removeprefix("Bearer ") or None
        host = (self.headers.get("Host") or "").partition(":")[0]
        request = Request(self.command, self.url.path, host, self.token, self.headers.get("Range"))
        self.hub.requests.append(request)
        self.fault = self._take_fault()
        try:
            if self.fault.seconds:
                self.hub.stopping.wait(self.fault.seconds)
            if self.fault.status:
                text = f"Failing on request with {self.fault.status}"
                self._send(self.fault.status, text.encode(), dict(self.fault.headers))
                return
            try:
                self._route(body)
            except _Refusal as refusal:
                self._send(
                    refusal.status, json.dumps({"error": str(refusal)}).encode(), refusal.headers
                )
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _take_fault(self) -> Fault:
        asked = f"{self.command} {unquote(self.url.path)}"
        for fault in self.hub.faults:
            if fault.times > 0 and fnmatch(asked, fault.pattern):
                fault.times -= 1
                return fault
        return Fault("")

    def _route(self, body: bytes) -> None:
        path = self.url.path
        if self.token is not None and self.token not in self.hub.tokens:
            raise _Refusal(401, "Invalid credentials in Authorization header")
        if path.startswith("/elsewhere/"):
            self._elsewhere(path.removeprefix("/elsewhere/"))
        elif found := _CACHED.fullmatch(path):
            kind, name, commit, file = found.groups()
            content = self._repo(kind, name).commits[commit][unquote(file)]
            self._send(200, content, {"ETag": f'"{_blob(content)}"', "X-Repo-Commit": commit})
        elif found := _API.fullmatch(path):
            self._api(*found.groups(), body)
        elif found := _RESOLVE.fullmatch(path):
            is_data, name, revision, file = found.groups()
            self._resolve(
                "datasets" if is_data else "models", name, unquote(revision), unquote(file)
            )
        else:
            raise _Refusal(404, "Not Found")

    def _repo(self, kind: str, name: str) -> Repo:
        now = self.hub.renamed.get((kind, name))
        if now is not None:
            place = self.path.replace(f"/{name}", f"/{now}", 1)
            raise _Refusal(307, f"Temporary Redirect. Redirecting to {place}", Location=place)
        repo = self.hub.repos.get((kind, name))
        if repo is None or (repo.private and self.token not in repo.members):
            if self.token is None:  # the same answer, so that nobody learns which ones exist
                raise _Refusal(401, "Invalid username or password.")
            raise _Refusal(404, "Repository not found", "RepoNotFound")
        return repo

    def _commit(self, repo: Repo, revision: str) -> str:
        commit = repo.refs.get(revision, revision)
        if commit not in repo.commits:
            raise _Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    def _api(self, kind: str, rest: str, body: bytes) -> None:
        words = [unquote(word) for word in rest.split("/")]
        at = next((n for n, word in enumerate(words) if n and word in _ROUTES), len(words))
        repo, route, more = (
            self._repo(kind, "/".join(words[:at])),
            words[at : at + 1],
            words[at + 1 :],
        )
        if route == ["refs"]:
            self._json(_refs(repo))
        elif route == ["discussions"]:
            self._json(_discussions(repo))
        else:
            commit = self._commit(repo, more[0] if more else "main")
            files = repo.commits[commit]
            if route == ["tree"]:
                self._json(_tree(files, "/".join(more[1:]), "recursive=True" in self.url.query))
            elif route == ["paths-info"]:
                wanted = parse_qs(body.decode()).get("paths", [])
                self._json([entry for path in wanted for entry in _entries(files, path)])
            else:
                self._json(_info(repo, commit, with_sizes="blobs" in self.url.query))

    def _resolve(self, kind: str, name: str, revision: str, path: str) -> None:
        repo = self._repo(kind, name)
        if repo.gated and self.token not in repo.members:
            text = f"Access to {kind[:-1]} {name} is restricted"
            status = 401 if self.token is None else 403
            raise _Refusal(status, f"{text} and you are not in the authorized list.", "GatedRepo")
        commit = self._commit(repo, revision)
        content = repo.commits[commit].get(path)
        if content is None:
            raise _Refusal(404, "Entry not found", "EntryNotFound", X_Repo_Commit=commit)
        headers = {"X-Repo-Commit": commit, "X-Linked-Size": str(len(content))}
        if path.endswith(LARGE):
            digest = hashlib.sha256(content).hexdigest()
            place = (
                f"http://localhost:{self.hub.port}/elsewhere/{digest}?Signature=secret-of-the-link"
            )
            headers |= {"X-Linked-ETag": f'"{digest}"', "Location": place}
            self._send(302, f"Found. Redirecting to {place}".encode(), headers)
        else:
            place = f"/api/resolve-cache/{kind}/{repo.name}/{commit}/{path}"
            headers |= {"X-Linked-ETag": f'"{_blob(content)}"', "Location": place}
            self._send(307, f"Temporary Redirect. Redirecting to {place}".encode(), headers)

    def _elsewhere(self, digest: str) -> None:
        """Answer as the other host does, which knows no names and no tokens."""
        for repo in self.hub.repos.values():
            for files in repo.commits.values():
                for content in files.values():
                    if hashlib.sha256(content).hexdigest() == digest:
                        self._send(200, content, {"ETag": f'"{digest}"'})
                        return
        raise _Refusal(403, "AccessDenied")

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        first = 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if status == 200 and asked:
            first = int(asked[1])
            status = 206
            headers = {
                **headers,
                "Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}",
            }
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        if self.command != "HEAD":
            self._write(content[first:])

    def _write(self, content: bytes) -> None:
        end = len(content) if self.fault.cut_after is None else self.fault.cut_after
        speed = self.fault.bytes_per_second
        for start in range(0, min(end, len(content)), PIECE):
            piece = content[start : min(start + PIECE, end)]
            self.wfile.write(piece)
            if speed:
                time.sleep(len(piece) / speed)
        if end < len(content):
            self.wfile.flush()
            self.close_connection = True


def _blob(content: bytes) -> str:
    """Return git's hash of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _lfs(path: str, content: bytes) -> dict[str, Any]:
    if not path.endswith(LARGE):
        return {}
    digest = hashlib.sha256(content).hexdigest()
    return {"lfs": {"oid": digest, "sha256": digest, "size": len(content), "pointerSize": 134}}


def _info(repo: Repo, commit: str, *, with_sizes: bool) -> dict[str, Any]:
    files = repo.commits[commit].items()
    siblings = [
        {"rfilename": path}
        | (
            {"size": len(content), "blobId": _blob(content), **_lfs(path, content)}
            if with_sizes
            else {}
        )
        for path, content in files
    ]
    gated = "manual" if repo.gated else False
    about = {"id": repo.name, "sha": commit, "private": repo.private, "gated": gated}
    return {**about, "tags": [], "downloads": 0, "likes": 0, "siblings": siblings}


def _entries(files: Mapping[str, bytes], path: str) -> Iterator[dict[str, Any]]:
    if path in files:
        content = files[path]
        yield {
            "type": "file",
            "path": path,
            "size": len(content),
            "oid": _blob(content),
            **_lfs(path, content),
        }
    elif any(name.startswith(f"{path}/") for name in files):
        yield {"type": "directory", "path": path, "size": 0, "oid": "0" * 40}


def _tree(files: Mapping[str, bytes], folder: str, recursive: bool) -> list[dict[str, Any]]:
    prefix = f"{folder}/" if folder else ""
    inside = [path for path in files if path.startswith(prefix)]
    if folder and not inside:
        raise _Refusal(404, f"{folder} does not exist", "EntryNotFound")
    names = {prefix + path.removeprefix(prefix).split("/")[0]: None for path in inside}
    paths = dict.fromkeys([*names, *(inside if recursive else ())])
    return [entry for path in paths for entry in _entries(files, path)]


def _refs(repo: Repo) -> dict[str, Any]:
    def listed(kind: str, names: list[str]) -> list[dict[str, str]]:
        return [{"name": n, "ref": f"refs/{kind}/{n}", "targetCommit": repo.refs[n]} for n in names]

    plain = [name for name in repo.refs if not name.startswith("refs/")]
    branches = [name for name in plain if not re.match(r"v\d", name)]
    tags = [name for name in plain if name not in branches]
    pulls = [n for n in repo.refs if n.startswith("refs/pr/")]
    return {
        "branches": listed("heads", branches),
        "tags": listed("tags", tags),
        "converts": [],
        "pullRequests": [{"name": n, "ref": n, "targetCommit": repo.refs[n]} for n in pulls],
    }


def _discussions(repo: Repo) -> dict[str, Any]:
    each = [
        {
            "title": title,
            "num": number,
            "author": {"name": repo.author},
            "createdAt": "2024-01-01T00:00:00.000Z",
            "status": "open",
            "repo": {"name": repo.name, "type": repo.kind[:-1]},
            "isPullRequest": True,
        }
        for number, title in repo.prs.items()
    ]
    return {"discussions": each, "count": len(each), "start": 0}
