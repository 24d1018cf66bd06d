"""The access rules, over real connections to the real server."""

from __future__ import annotations

import http.client
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from lightning_modules.error import ConfigError
from search.report.dashboard.artifact import FOLDER
from search.report.dashboard.server import (
    HOST,
    MAX_NOTE_BYTES,
    Server,
    _read_only,
    build_app,
    open_dashboard,
)
from search.storage.engine import TIMEOUT_SECONDS, open_storage
from tests.conftest import wait_until

JSON = {"Content-Type": "application/json"}


def make_study(folder: Path) -> optuna.Study:
    """Make a study with an ended trial that has artifacts, and a running one."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(study_name="s", storage=open_storage(folder / "study.db"))
    trial = study.ask()
    (folder / FOLDER).mkdir()
    for name in ("curve.png", "table.jsonl", "page.html", "drawing.svg"):
        (folder / name).write_text("<script>alert(1)</script>")
        kind = "application/jsonl" if name == "table.jsonl" else None
        upload_artifact(
            artifact_store=FileSystemArtifactStore(folder / FOLDER),
            file_path=str(folder / name),
            study_or_trial=trial,
            mimetype=kind,
        )
    study.tell(trial, 0.5)
    study.ask()
    return study


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    with open_dashboard(folder, "s", port=0) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        try:
            yield server
        finally:
            server.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a study for tests that do not change its trials."""
    folder = tmp_path_factory.mktemp("study")
    make_study(folder)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serving(folder) as server:
        yield server


@pytest.fixture
def study(here: Path) -> optuna.Study:
    """Make a study for one test."""
    return make_study(here)


def ask(
    server: Server,
    path: str,
    method: str = "GET",
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, Mapping[str, str], bytes]:
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=60)
    connection.request(method, path, body, dict(headers or {}))
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def test_the_page_is_the_studys(server: Server) -> None:
    assert urlsplit(server.page).path == "/dashboard/studies/1"
    status, headers, page = ask(server, urlsplit(server.page).path)
    assert status == 200 and b"<style>main{min-width:0}" in page
    assert headers["Content-Type"].startswith("text/html")
    status, _, body = ask(server, "/api/studies/1")
    assert [trial["state"] for trial in json.loads(body)["trials"]] == ["Complete", "Running"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:9999", 200),  # a tunnel has another port
        ("localhost:8080", 200),
        ("evil.example", 403),
        ("evil.example:8080", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:80", 403),
        ("0.0.0.0:8080", 403),
        ("", 403),
    ],
)
def test_foreign_host_names_are_refused(host: str, status: int, server: Server) -> None:
    for path in ("/dashboard", "/api/studies", "/static/bundle.js"):
        found, _, body = ask(server, path, headers={"Host": host})
        assert found == status, (path, body)


def test_the_server_listens_on_localhost_only(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_every_write_except_to_notes_is_refused(server: Server, folder: Path) -> None:
    """Request every route of optuna-dashboard, including those of later versions."""
    before = dump(folder / "study.db")
    refused = []
    for route in build_app(folder).writing.routes:  # type: ignore[attr-defined]
        if route.method in ("GET", "HEAD") or route.rule.endswith("/note"):
            continue
        path = "/".join("1" if part.startswith("<") else part for part in route.rule.split("/"))
        status, _, body = ask(server, path, route.method, "{}", JSON)
        assert status == 403, (route.method, path, body)
        assert "This dashboard can only change notes" in json.loads(body)["reason"]
        refused.append((route.method, path))
    assert {
        ("DELETE", "/api/studies/1"),
        ("POST", "/api/studies"),
        ("POST", "/api/studies/1/rename"),
        ("POST", "/api/trials/1/tell"),
        ("POST", "/api/trials/1/user-attrs"),
        ("DELETE", "/api/artifacts/1/1"),
        ("DELETE", "/api/artifacts/1/1/1"),
        ("POST", "/api/artifacts/1/1"),
    } <= set(refused)
    for method in ("PATCH", "OPTIONS", "TRACE", "PROPFIND"):
        assert ask(server, "/api/studies/1", method)[0] == 403
    assert dump(folder / "study.db") == before
    assert len(list((folder / FOLDER).iterdir())) == 4


def dump(database: Path) -> list[str]:
    with sqlite3.connect(database) as connection:
        return list(connection.iterdump())


@pytest.mark.parametrize("path", ["/api/studies/1/note", "/api/studies/1/1/note"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "OWN", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "OWN", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Content-Length": str(MAX_NOTE_BYTES + 1)}, 403),
    ],
)
def test_only_our_own_pages_can_write_notes(
    path: str, headers: dict[str, str], status: int, server: Server
) -> None:
    own = f"http://{HOST}:{server.server_port}"
    headers = {name: own if value == "OWN" else value for name, value in headers.items()}
    before = note_at(server, path)
    body = json.dumps({"version": before["version"] + 1, "body": f"mine, {headers}"})
    body = body.ljust(int(headers.pop("Content-Length", 0)))
    found, _, answer = ask(server, path, "PUT", body, {**JSON, **headers})
    assert found == status, answer
    assert json.loads(answer) == {} or status == 403  # what the page can read
    assert (note_at(server, path) == before) == (status == 403)


def test_a_note_that_changed_meanwhile_is_not_overwritten(server: Server) -> None:
    path = "/api/studies/1/note"
    before = note_at(server, path)
    body = json.dumps({"version": before["version"], "body": "from an older page"})
    status, _, answer = ask(server, path, "PUT", body, JSON)
    assert status == 409 and json.loads(answer)["note"] == before
    assert note_at(server, path) == before


def note_at(server: Server, path: str) -> dict[str, Any]:
    found = json.loads(ask(server, "/api/studies/1")[2])
    note: dict[str, Any] = (found if path == "/api/studies/1/note" else found["trials"][0])["note"]
    return note


@pytest.mark.parametrize(
    "path",
    ["/api/studies/1/note/../1", "/x/api/studies/1/note", "/api/studies/1/note/x", "/note"],
)
def test_paths_that_only_resemble_a_note_are_refused(path: str, server: Server) -> None:
    assert ask(server, path, "PUT", '{"version": 1, "body": ""}', JSON)[0] == 403


def test_foreign_artifacts_are_downloads(server: Server) -> None:
    _, _, body = ask(server, "/api/studies/1")
    artifacts = json.loads(body)["trials"][0]["artifacts"]
    assert len(artifacts) == 4
    for artifact in artifacts:
        status, headers, _ = ask(server, f"/artifacts/1/1/{artifact['artifact_id']}")
        assert status == 200
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in headers
        is_ours = artifact["filename"] in ("curve.png", "table.jsonl")
        assert ("Content-Disposition" not in headers) == is_ours, artifact
        assert headers.get("Content-Disposition", "attachment") == "attachment"


@pytest.mark.parametrize("path", ["/dashboard", "/api/studies", "/static/bundle.js", "/nothing"])
def test_every_answer_is_restricted_to_our_own_pages(path: str, server: Server) -> None:
    _, headers, _ = ask(server, path)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_a_page_matches_its_headers(server: Server) -> None:
    status, headers, page = ask(server, "/dashboard", "HEAD")
    assert (status, page) == (200, b"")
    assert "Content-Length" not in headers
    _, headers, body = ask(server, "/api/studies")
    assert int(headers["Content-Length"]) == len(body)


def test_connections_for_reading_cannot_write(study: optuna.Study, here: Path) -> None:
    storage = _read_only(f"sqlite:///{here}/study.db")
    assert storage.get_n_trials(study._study_id) == 2
    with pytest.raises(OperationalError, match="readonly"), storage.engine.begin() as connection:
        connection.execute(text("DELETE FROM trials"))


def test_a_reader_that_stops_in_the_middle_blocks_no_worker(
    study: optuna.Study, here: Path
) -> None:
    reader = _read_only(f"sqlite:///{here}/study.db")
    with reader.engine.begin() as connection:
        count = text("SELECT count(*) FROM trials")
        assert connection.execute(count).scalar() == 2
        began = time.monotonic()
        study.tell(study.ask(), 0.7)
        # It takes milliseconds; a blocked worker would wait up to 120 s.
        assert time.monotonic() - began < TIMEOUT_SECONDS / 2
        assert connection.execute(count).scalar() == 2
    assert reader.get_n_trials(study._study_id) == 3


@pytest.mark.thorough
def test_new_trials_and_values_appear(study: optuna.Study, here: Path) -> None:
    with serving(here) as server:
        assert len(json.loads(ask(server, "/api/studies/1")[2])["trials"]) == 2
        study.tell(1, 0.25)
        study.ask()

        def third() -> list[dict[str, Any]] | None:
            trials = json.loads(ask(server, "/api/studies/1")[2])["trials"]
            return trials if len(trials) == 3 else None

        trials = wait_until(third, "the new trial")
    assert [trial.get("values") for trial in trials] == [[0.5], [0.25], None]


def test_a_taken_port_is_one_clear_line(server: Server, folder: Path) -> None:
    port = server.server_port
    with pytest.raises(ConfigError) as error:
        open_dashboard(folder, "s", port)
    line = f"port: must be free on 127.0.0.1, got {port}. Set port={port + 1}, or port=0"
    assert str(error.value).startswith(line)


def test_requests_and_disconnects_print_nothing(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    ask(server, "/dashboard")
    ask(server, "/api/studies/1", "DELETE")
    for words in (b"", b"GET /static/bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        connection = http.client.HTTPConnection(HOST, server.server_port)
        connection.connect()
        assert connection.sock is not None
        connection.sock.sendall(words)
        connection.sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER 0: reset on close
        connection.close()
    ask(server, "/api/studies")
    assert capfd.readouterr() == ("", "")


def test_a_refused_request_is_read_first(server: Server) -> None:
    """Otherwise the connection could be reset before the browser has the answer."""
    for _ in range(10):
        assert ask(server, "/api/artifacts/1/1", "POST", "x" * 500_000, JSON)[0] == 403
