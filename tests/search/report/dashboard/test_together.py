"""All studies of a folder in one dashboard: each as in its own, and nothing that is refused."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from lightning_modules.error import ConfigError
from search.report.dashboard.artifact import artifacts_of
from search.report.dashboard.note import read_note
from search.report.dashboard.server import Server, open_dashboard_of_all
from search.report.dashboard.together import SPAN, Together
from search.storage.engine import open_storage
from search.storage.location import storage_of
from search.study.open import load_study
from tests.search.report.document.test_page import pictures
from tests.search.report.synthetic import study_of

NAMES = ("a", "b")
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("studies")
    for at, name in enumerate(NAMES):
        study = study_of(root, name, ["complete"] * (at + 2) + ["running"])
        trial = study.trials[-1]
        for each in artifacts_of(name, 0, study.folder_of(study.trials[0])):
            key, value = each.attribute
            study.optuna._storage.set_trial_system_attr(trial._trial_id, key, value)
    return root


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    with open_dashboard_of_all(root, 0) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        try:
            yield server
        finally:
            server.shutdown()


def ask(server: Server, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(server.page).netloc, timeout=60)
    connection.request(method, path, None if body is None else json.dumps(body), JSON)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_all_studies_are_listed_with_their_own_trials(server: Server) -> None:
    summaries = json.loads(ask(server, "GET", "/api/studies")[1])["study_summaries"]
    ids = {each["study_name"]: each["study_id"] for each in summaries}
    assert ids == {"a": 1, "b": SPAN + 1}
    for at, name in enumerate(NAMES):
        trials = json.loads(ask(server, "GET", f"/api/studies/{ids[name]}")[1])["trials"]
        assert len(trials) == at + 3
        assert {each["trial_id"] // SPAN for each in trials} == {at}


def test_each_study_has_its_own_artifacts(server: Server) -> None:
    trials = json.loads(ask(server, "GET", f"/api/studies/{SPAN + 1}")[1])["trials"]
    (*_, last) = trials
    found = {each["filename"]: each["artifact_id"] for each in last["artifacts"]}
    assert {"confusion matrix.png", "wrong examples.jsonl"} <= {*found}
    path = f"/artifacts/{SPAN + 1}/{last['trial_id']}/{found['confusion matrix.png']}"
    status, content = ask(server, "GET", path)
    assert status == 200 and content[1:4] == b"PNG"


def test_a_picture_in_a_note_is_that_of_its_study(server: Server, root: Path) -> None:
    for at, name in enumerate(NAMES):
        study = load_study(root / "studies" / name)
        first = study.folder_of(study.trials[0])
        ids = {each.name: each.id for each in artifacts_of(name, 0, first)}
        # As a note has it: with the IDs of the study's own database.
        path = f"/artifacts/{study.id}/{study.trials[-1]._trial_id}/{ids['confusion matrix.png']}"
        assert study.id == 1, at
        status, content = ask(server, "GET", path)
        assert status == 200 and content[1:4] == b"PNG", name
    assert ask(server, "GET", "/artifacts/1/1/6e6f6e65-0000-1")[0] == 404
    assert ask(server, "GET", "/artifacts/1/1/ff-0000-1")[0] == 404


def test_a_server_of_many_studies_is_read_once_per_study(here: Path) -> None:
    folders = [study_of(here, name, ["complete"]).folder for name in NAMES]
    storages = {folder: open_storage(storage_of(folder)) for folder in folders}
    together = Together(lambda: folders, storages.__getitem__)
    for storage in storages.values():  # reading the whole list per study would grow as its square
        storage.get_all_studies = None  # type: ignore[method-assign,assignment]
    assert [each.study_name for each in together.get_all_studies()] == ["a", "b"]
    assert together.get_study_id_from_name("b") == SPAN + 1
    with pytest.raises(KeyError):
        together.get_study_id_from_name("c")


def test_a_note_is_written_to_the_right_study_and_trial(server: Server, root: Path) -> None:
    trial = json.loads(ask(server, "GET", f"/api/studies/{SPAN + 1}")[1])["trials"][1]
    path = f"/api/studies/{SPAN + 1}/{trial['trial_id']}/note"
    assert ask(server, "PUT", path, {"body": "looked at", "version": 1})[0] == 200
    study = load_study(root / "studies" / "b")
    assert read_note(study.optuna, study.trials[1]._trial_id) == "looked at"
    other = load_study(root / "studies" / "a")
    assert read_note(other.optuna, other.trials[1]._trial_id) == ""


def test_a_study_that_was_deleted_leaves_the_others_where_they_are(here: Path) -> None:
    folders = [study_of(here, name, ["complete"]).folder for name in NAMES]
    asked = []

    def find() -> list[Path]:
        asked.append(1)
        return [folder for folder in folders if folder.is_dir()]

    together = Together(find, lambda folder: open_storage(storage_of(folder)))
    assert [each.study_name for each in together.get_all_studies()] == ["a", "b"]
    num_asked = len(asked)
    for _ in range(20):
        assert len(together.get_all_trials(SPAN + 1)) == 1
    assert len(asked) == num_asked  # it looked at no study but the one that was named
    shutil.rmtree(folders[0])
    assert [each._study_id for each in together.get_all_studies()] == [SPAN + 1]
    assert len(together.get_all_trials(SPAN + 1)) == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", "/api/studies/1"), ("POST", "/api/studies"), ("POST", "/api/trials/1/tell")],
)
def test_nothing_but_notes_can_be_written(server: Server, method: str, path: str) -> None:
    assert ask(server, method, path, {})[0] == 403


def test_a_damaged_study_hides_no_other(here: Path) -> None:
    study_of(here, "a", ["complete"])
    (here / "studies" / "b").mkdir()
    (here / "studies" / "b" / "study.db").write_bytes(b"no database" * 99)
    with open_dashboard_of_all(here, 0) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        try:
            summaries = json.loads(ask(server, "GET", "/api/studies")[1])["study_summaries"]
        finally:
            server.shutdown()
    assert [each["study_name"] for each in summaries] == ["a"]
    (line,) = server.unread
    assert line.startswith("b: study: ") and line.endswith("got file is not a database.")


def test_a_folder_without_studies_says_so(here: Path) -> None:
    with pytest.raises(ConfigError, match="there must be a study here, got none"):
        open_dashboard_of_all(here, 0)


@pytest.mark.thorough
@pytest.mark.skipif(pictures.CHROMIUM is None, reason="chromium is not installed")
def test_what_is_refused_is_not_offered(server: Server) -> None:
    with pictures.browsing() as page:
        page.set_default_timeout(180_000)
        page.goto(server.page)
        page.get_by_text("RELOAD").or_(page.get_by_text("Reload")).first.wait_for()
        page.get_by_label("delete study").first.wait_for(state="attached")
        for name in ("delete study", "rename study"):
            assert not page.get_by_label(name).first.is_visible(), name
        create = page.locator("button:has([data-testid=AddBoxIcon])")
        assert create.count() == 1 and not create.is_visible()
        page.goto(f"{server.page}/studies/1/trials?numbers=2")
        upload = page.get_by_text("Upload a New File")
        upload.wait_for(state="attached")
        assert not upload.is_visible()
        assert page.get_by_role("heading", name="Artifacts").is_visible()
        fail = page.get_by_role("button", name="Fail Trial")
        assert fail.count() == 0  # hidden from readers of the page too
