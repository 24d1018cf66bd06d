"""The dashboard as users see it: the real command with a running study and a real browser."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import optuna
import pytest

from search.cli import main
from search.report.dashboard.artifact import MATRIX, TABLE
from search.report.dashboard.page import show_trial
from search.storage.engine import open_storage
from tests.conftest import command, write_jsonl

playwright = pytest.importorskip("playwright.sync_api")
SCRIPT = Path(__file__).parents[3] / "docs" / "make_pictures.py"
TIMEOUT = 180_000  # milliseconds, for waits on training on a busy machine


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_pictures", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pictures = load_script()
pytestmark = pytest.mark.skipif(pictures.CHROMIUM is None, reason="chromium is not installed")


@dataclass(frozen=True)
class Live:
    """A running study, its dashboard and a browser page."""

    folder: Path
    sweep: subprocess.Popen[str]
    address: str
    page: playwright.Page  # type: ignore[name-defined]


@pytest.fixture(scope="module")
def page() -> Iterator[playwright.Page]:  # type: ignore[name-defined]
    with pictures.browsing() as page:
        page.set_default_timeout(TIMEOUT)
        yield page


@pytest.fixture(scope="module")
def live(
    tmp_path_factory: pytest.TempPathFactory,
    cache: Path,
    page: playwright.Page,  # type: ignore[name-defined]
) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    environment = {**os.environ, "FINESWEEP_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    # More trials than the tests wait for: the first test stops the study.
    words = ("study=s", "logger=none", "experiment=smoke", "trainer.epochs=2")
    sweep = start(
        folder, environment, "sweep", *words, "search/pruner=none", "search.num_trials=99"
    )
    try:
        assert sweep.stdout is not None
        for line in sweep.stdout:
            if line.startswith("device"):  # the first trial has started
                break
        server = start(folder, environment, "dashboard", "study=s", "port=0")
        try:
            assert server.stdout is not None
            yield Live(folder, sweep, server.stdout.readline().strip(), page)
        finally:
            server.kill()
            server.communicate()
    finally:
        sweep.kill()
        sweep.communicate()


def start(folder: Path, environment: dict[str, str], *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*words),
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.thorough
def test_trials_appear_while_the_study_runs(live: Live) -> None:
    page = live.page
    page.goto(f"{live.address}/trials")
    page.get_by_text("Trial 0", exact=True).wait_for()
    page.evaluate("window.isTheSamePage = true")
    last = page.evaluate("document.body.innerText.match(/^Trial [0-9]+$/gm).length") - 1
    assert live.sweep.poll() is None
    page.get_by_text(f"Trial {last + 1}", exact=True).wait_for()
    page.wait_for_function(f"document.body.innerText.match(/^Complete$/gm)?.length > {last}")
    assert page.evaluate("window.isTheSamePage")
    live.sweep.send_signal(signal.SIGINT)
    output, _ = live.sweep.communicate(timeout=TIMEOUT / 1000)
    assert live.sweep.returncode == 130, output


@pytest.mark.thorough
def test_a_trials_page_shows_its_pictures_note_and_wrong_examples(
    live: Live, tmp_path: Path
) -> None:
    page = live.page
    pictures.open_trial(page, live.address, 0)
    page.screenshot(path=tmp_path / "trial.png")
    images = page.locator("img").evaluate_all("all => all.map(i => [i.alt, i.naturalWidth])")
    assert sorted(images) == [
        ["confusion matrix", 640],  # in the note
        ["confusion matrix.png", 640],
        ["learning curve", 640],
        ["learning curve.png", 640],
    ]
    assert page.evaluate("document.documentElement.scrollWidth") <= pictures.WIDTH
    note = page.locator(".MuiCard-root").first.inner_text()
    assert "Finished: trained to the end, epoch 2." in note
    assert "finesweep train study=s trial=0" in note
    assert "best at epoch" in note and "accuracy" in note

    page.get_by_label("show artifact table").click()
    folder = live.folder / "studies" / "s" / "trials" / "0000" / "attempt-1"
    lines = (folder / "mistakes.jsonl").read_text(encoding="utf-8").splitlines()
    first = json.loads(lines[0])
    rows = page.locator("[role=presentation] table tr")
    rows.nth(1).wait_for()
    titles = page.locator("[role=presentation] th").all_inner_texts()
    assert [title.partition("\n")[0] for title in titles] == list(first)
    assert rows.nth(1).inner_text().split("\t") == [str(value) for value in first.values()]
    page.screenshot(path=tmp_path / "table.png")


@pytest.mark.thorough
def test_the_studys_note_describes_its_task(live: Live) -> None:
    live.page.goto(f"{live.address}/note")
    live.page.get_by_text("goal    maximize validation/accuracy").wait_for()
    text = live.page.locator(".MuiCard-root").first.inner_text()
    assert "600 / 200 / 200 rows" in text and "s: 99 trials" in text
    assert "trials.csv: one row per trial" in text
    storage = open_storage(live.folder / "studies" / "s" / "study.db")
    for trial in optuna.load_study(study_name="s", storage=storage).trials:
        for name in trial.user_attrs:
            assert f"{name}: " in text, (
                f"search.report.dashboard.page.COLUMNS does not explain {name}"
            )


@pytest.mark.thorough
def test_the_browser_can_edit_a_note_but_not_delete_a_study(live: Live) -> None:
    page, before = live.page, num_complete(live)
    pictures.open_trial(page, live.address, 0)
    page.locator(".MuiCard-root button").first.click()
    editor = page.locator("textarea").first
    editor.fill(f"{editor.input_value()}look at *this* one")
    page.get_by_role("button", name="Save").click()
    page.locator("em", has_text="this").wait_for()
    page.goto(live.address.partition("/studies")[0])
    page.get_by_label("delete study").first.wait_for(state="attached")
    assert not page.get_by_label("delete study").first.is_visible()
    refused = "() => fetch('/api/studies/1', {method: 'DELETE'}).then(answer => answer.status)"
    assert page.evaluate(refused) == 403
    assert num_complete(live) >= before > 0  # the study continues meanwhile


def num_complete(live: Live) -> int:
    states = json.loads(finesweep(live, "status", "study=s", "--json").stdout)["states"]
    return int(states["complete"])


def finesweep(live: Live, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), cwd=live.folder, capture_output=True, text=True, check=False
    )


@pytest.mark.thorough
def test_the_pictures_of_the_readme_are_small(live: Live, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "studies/s", tmp_path],
        cwd=live.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in ("table.png", "dashboard.png", "dashboard-trial.png"):
        assert 10_000 < (tmp_path / name).stat().st_size < 200 * 1024, name


@pytest.mark.thorough
def test_a_taken_port_is_one_line_and_ctrl_c_ends_the_dashboard_cleanly(live: Live) -> None:
    port = live.address.split(":")[2].partition("/")[0]
    done = finesweep(live, "dashboard", "study=s", f"port={port}")
    assert (done.returncode, done.stdout) == (2, "")
    fix = f"Set port={int(port) + 1}, or port=0 for any free one."
    assert done.stderr == f"port: must be free on 127.0.0.1, got {port}. {fix}\n"
    server = subprocess.Popen(
        command("dashboard", "study=s", "port=0"),
        cwd=live.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+/\S+\n", server.stdout.readline())
    assert server.stdout.readline() == "Ctrl-C ends the dashboard, not the study.\n"
    server.send_signal(signal.SIGINT)
    output, errors = server.communicate(timeout=60)
    assert (server.returncode, output, errors) == (130, "", "interrupted\n")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("study=nope",), "study: must be a study in studies/, got 'nope'"),
        ((), "dashboard: there must be a study here, got none. Start one with finesweep sweep"),
        (("study=nope", "port=http"), "port: must be a number from 0 to 65535, got 'http'."),
        (("study=nope", "port=70000"), "port: must be a number from 0 to 65535, got '70000'."),
        (("study=nope", "prot=1"), "prot: must be a known key, got prot. Did you mean port?"),
    ],
)
def test_a_wrong_argument_is_one_line(
    words: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dashboard", *words]) == 2
    assert capsys.readouterr().err.startswith(line)


MARKUP = '<img src=x onerror="window.isBroken=1"> [a](https://a.example) **b** https://c.example'


def test_text_from_data_and_errors_is_not_markup(
    here: Path,
    page: playwright.Page,  # type: ignore[name-defined]
) -> None:
    folder = here / "studies" / "odd"
    attempt = folder / "trials" / "0000" / "attempt-1"
    attempt.mkdir(parents=True)
    storage = open_storage(folder / "study.db")
    study = optuna.create_study(study_name="odd", storage=storage)
    confusion = [
        {"label": label, f"predicted {MARKUP}": 1, "predicted b": 2} for label in (MARKUP, "b")
    ]
    write_jsonl(attempt / "confusion.jsonl", confusion)
    write_jsonl(attempt / "mistakes.jsonl", [{"text": MARKUP, "label": MARKUP}])
    trial = storage.get_trial(study.ask()._trial_id)
    show_trial(study, trial, attempt, failure=f"Error: {MARKUP}")
    study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    with pictures.serving(folder) as address:
        pictures.open_trial(page, address, 0)
        note = page.locator(".MuiCard-root").first
        assert f"Error: {MARKUP}" in note.inner_text()
        assert note.locator("a").count() == 0
        names = page.locator("img").evaluate_all("all => all.map(image => image.alt)")
        assert sorted(names) == [MATRIX.removesuffix(".png"), MATRIX]
        assert page.get_by_text(TABLE).count() == 1
        page.get_by_label("show artifact table").click()
        cell = page.locator("[role=presentation] td").first
        assert cell.inner_text() == MARKUP
        assert not page.evaluate("window.isBroken")
