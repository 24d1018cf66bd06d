from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

import finesweep
from lightning_modules.error import ConfigError
from search.config.plugin import (
    VARIABLE,
    NotNamed,
    check_named,
    name_plugins,
    named_plugins,
    packages_of,
    take_plugins,
)
from search.report.dashboard.server import open_dashboard
from search.trained.find import find_folder
from tests.conftest import run_here

STRATEGY = """
from dataclasses import dataclass
from pathlib import Path
from lightning_modules.strategy.full import Full

Path({trace!r}).touch()

@dataclass(frozen=True, kw_only=True)
class Mine(Full):
    pass
"""
YAML = "# Mine\n_target_: stranger.Mine\nlr: 1e-3\nlr_min: 1e-4\nlr_max: 1e-2\n"
NAMED = "search.plugins=[stranger]"
SMALL = ("model=tiny", "logger=none", "trainer.epochs=1", "trainer.select=metric")
RUN = (*SMALL, "strategy=mine", "--config-dir=conf")
SWEEP = (*RUN, "search.num_trials=1", "search.workers=0", "search.confirm=0")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a study and a run with a strategy of the user's own, in a process of their own."""
    folder = tmp_path_factory.mktemp("made")
    write_parts(folder, folder / "trace")
    for words in (("sweep", "study=s", *SWEEP), ("train", "run=r", *RUN)):
        command = [
            sys.executable,
            "-c",
            f"from search.cli import main; raise SystemExit(main({[*words, NAMED]!r}))",
        ]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert (folder / "studies/s/trials.csv").is_file(), done.stderr
    return folder


def write_parts(folder: Path, trace: Path) -> None:
    (folder / "stranger.py").write_text(STRATEGY.format(trace=str(trace)))
    (folder / "conf" / "strategy").mkdir(parents=True)
    (folder / "conf" / "strategy" / "mine.yaml").write_text(YAML)


@pytest.fixture
def trace(made: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Copy study and run here, and return the file that appears if the package is imported."""
    shutil.copytree(made / "studies", here / "studies")
    shutil.copytree(made / "runs", here / "runs")
    write_parts(here, here / "trace")
    monkeypatch.syspath_prepend(here)
    monkeypatch.setenv("PYTHONPATH", str(here), prepend=":")  # for workers
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    yield here / "trace"
    sys.modules.pop("stranger", None)


@pytest.fixture
def refused(trace: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs a command, which must import nothing and say one line."""

    def run(*words: str) -> str:
        capsys.readouterr()
        run_here(*words, code=2)
        error = capsys.readouterr().err
        assert not trace.exists()
        assert error.count("\n") == 1, error
        return error

    return run


OPEN_A_STUDY = [
    ("status", "study=s"),
    ("status",),
    ("sweep", "study=s", "search.num_trials=2"),
    ("sweep", "study=s", *SWEEP),
    ("plan", "study=s"),
    ("worker", "study=s"),
    ("stop", "study=s"),
    ("try", "study=s", "strategy.lr=1e-3"),
    ("drop", "study=s", "trial=0"),
    ("evaluate", "study=s"),
    ("export", "study=s", "to=out"),
    ("train", "study=s", "trial=0"),
    ("ask", "study=s"),
    ("tell", "study=s", "trial=0", "value=1"),
]


@pytest.mark.parametrize("words", OPEN_A_STUDY, ids=lambda words: "-".join(words[:1]))
def test_a_study_does_not_decide_which_code_runs(
    words: tuple[str, ...], refused: Callable[..., str]
) -> None:
    assert (
        "search.plugins: study s imports stranger, which the command must name, got []. If you "
        f"trust it, add 'search.plugins=[stranger]', or export {VARIABLE}=stranger."
    ) in refused(*words)


CHEAP = [
    ("status", "study=s"),
    ("plan", "study=s"),
    ("stop", "study=s"),
    ("drop", "study=s", "trial=0"),
]


@pytest.mark.parametrize("words", CHEAP, ids=lambda words: words[0])
def test_the_advice_works(words: tuple[str, ...], trace: Path) -> None:
    run_here(*words, NAMED)
    assert trace.exists()


@pytest.mark.parametrize("words", CHEAP, ids=lambda words: words[0])
def test_so_does_the_variable(
    words: tuple[str, ...], trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "other, stranger")
    run_here(*words)
    assert trace.exists()


@pytest.mark.thorough
@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "study=s"),
        ("export", "study=s", "to=out"),
        ("train", "study=s", "trial=0"),
        ("evaluate", "run=r"),
        ("sweep", "study=s", "search.num_trials=2"),
        ("sweep", "study=s", "search.num_trials=2", "search.workers=1"),
    ],
    ids=lambda words: "-".join(words[:2]),
)
def test_what_trains_or_scores_goes_on_once_the_package_is_named(
    words: tuple[str, ...], trace: Path
) -> None:
    run_here(*words, NAMED)
    assert trace.exists()


@pytest.mark.thorough
def test_another_process_of_the_shell_that_exports_the_variable_needs_no_word(
    trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "stranger")
    words = ["sweep", "study=new", *SWEEP, "search.workers=1"]
    command = [
        sys.executable,
        "-c",
        f"from search.cli import main; raise SystemExit(main({words!r}))",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_file_of_the_users_own_names_it(trace: Path, here: Path) -> None:
    (here / "conf" / "experiment").mkdir()
    text = "# @package _global_\n# Mine\nsearch:\n  plugins: [stranger]\n"
    (here / "conf" / "experiment" / "own.yaml").write_text(text)
    run_here("plan", "study=s", "experiment=own", "--config-dir=conf")
    assert trace.exists()


def test_such_a_file_alone_names_nothing(refused: Callable[..., str], here: Path) -> None:
    (here / "conf" / "experiment").mkdir()
    text = "# @package _global_\n# Mine\nsearch:\n  plugins: [stranger]\n"
    (here / "conf" / "experiment" / "own.yaml").write_text(text)
    assert "imports stranger" in refused("plan", "study=s", "--config-dir=conf")


def test_a_run_does_not_decide_either(refused: Callable[..., str]) -> None:
    for words in (("evaluate", "run=r"), ("export", "run=r", "to=out")):
        assert "got 'stranger.Mine'. If you trust its code, add 'search.plugins" in refused(*words)


def test_nor_does_a_run_that_lists_packages(refused: Callable[..., str], here: Path) -> None:
    path = here / "runs" / "r" / "config.yaml"
    tree = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**tree, "search": {"plugins": ["stranger"]}}))
    assert "got 'stranger.Mine'" in refused("evaluate", "run=r")
    (here / "runs" / "r" / "metrics.json").unlink()  # as if it was interrupted
    error = refused("train", "run=r", *SMALL, "strategy=full")
    assert "strategy" in error or "must be as the run began" in error


def changed(here: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what the database holds of the study."""
    with sqlite3.connect(here / "studies/s/study.db") as database:
        where = "from study_system_attributes where key = 'finesweep.plan'"
        ((text,),) = database.execute(f"select value_json {where}").fetchall()
        values = json.loads(text)
        change(values)
        query = "update study_system_attributes set value_json = ? where key = 'finesweep.plan'"
        database.execute(query, (json.dumps(values),))
    database.close()


def in_words(plan: dict[str, Any]) -> None:
    plan["arms"][0]["tree"]["search"]["plugins"] = []
    plan["words"] = ["+search.plugins=[stranger]", "strategy=mine"]


def in_words_by_index(plan: dict[str, Any]) -> None:
    plan["arms"][0]["tree"]["search"]["plugins"] = []
    plan["words"] = ["+search.plugins.0=stranger"]


def in_words_of_an_arm(plan: dict[str, Any]) -> None:
    plan["arms"][0]["tree"]["search"]["plugins"] = []
    plan["words"], plan["arms"][0]["words"] = [], ["search.plugins[mine]=[stranger]"]


def in_another_arm(plan: dict[str, Any]) -> None:
    plan["words"] = plan["arms"][0]["words"] = []
    other = json.loads(json.dumps(plan["arms"][0]))
    plan["arms"][0]["tree"]["search"]["plugins"] = []
    plan["arms"].append(other)


def by_reference(plan: dict[str, Any]) -> None:
    plan["words"] = plan["arms"][0]["words"] = []
    plan["arms"][0]["tree"]["search"] |= {"plugins": "${search.names}", "names": ["stranger"]}


def by_reference_to_all(plan: dict[str, Any]) -> None:
    plan["words"] = plan["arms"][0]["words"] = []
    tree = plan["arms"][0]["tree"]
    tree["others"], tree["search"] = tree["search"], "${others}"


@pytest.mark.parametrize(
    "change",
    [
        *(in_words, in_words_by_index, in_words_of_an_arm),
        *(in_another_arm, by_reference, by_reference_to_all),
    ],
)
def test_a_package_is_found_wherever_the_database_names_it(
    change: Callable[[dict[str, Any]], None], refused: Callable[..., str], here: Path
) -> None:
    changed(here, change)
    assert "search.plugins: study s imports " in refused("plan", "study=s", "strategy=full")


def test_the_database_cannot_import_what_it_does_not_list(
    refused: Callable[..., str], here: Path
) -> None:
    def unlisted(plan: dict[str, Any]) -> None:
        plan["words"] = plan["arms"][0]["words"] = []
        plan["arms"][0]["tree"]["search"]["plugins"] = []

    changed(here, unlisted)
    assert "got 'stranger.Mine'" in refused("status", "study=s")


def test_a_trial_cannot_list_packages(refused: Callable[..., str], here: Path) -> None:
    def ours(plan: dict[str, Any]) -> None:
        tree = plan["arms"][0]["tree"]
        plan["words"] = plan["arms"][0]["words"] = []
        tree["search"]["plugins"] = []
        tree["strategy"]["_target_"] = "lightning_modules.strategy.full.Full"

    changed(here, ours)
    values = {"search.plugins": ["stranger"], "strategy._target_": "stranger.Mine"}
    with sqlite3.connect(here / "studies/s/study.db") as database:
        query = "insert into trial_user_attributes (trial_id, key, value_json) values (1, ?, ?)"
        database.execute(query, ("values", json.dumps(values)))
    database.close()
    for words in (("evaluate", "study=s"), ("train", "study=s", "trial=0")):
        assert "got 'stranger.Mine'" in refused(*words)


def test_a_metric_of_the_users_own_is_no_way_round(refused: Callable[..., str], here: Path) -> None:
    def measured(plan: dict[str, Any]) -> None:
        tree = plan["arms"][0]["tree"]
        plan["words"] = plan["arms"][0]["words"] = []
        tree["search"]["plugins"] = []
        tree["strategy"]["_target_"] = "lightning_modules.strategy.full.Full"
        tree["task"] |= {"metric": "stranger:score", "metric_direction": "maximize"}

    changed(here, measured)
    error = refused("status", "study=s")
    assert "search.plugins must name the package of stranger:score" in error


def test_the_dashboard_shows_and_delete_deletes_it_without_the_package(
    trace: Path, here: Path
) -> None:
    folder = find_folder("s")
    with open_dashboard(folder, folder.name, 0) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = server.page.replace("/dashboard/", "/api/")
        with urllib.request.urlopen(f"{address}?after=0", timeout=60) as answer:
            assert len(json.load(answer)["trials"]) == 1
        server.shutdown()
    run_here("delete", "study=s", "--yes")
    assert not trace.exists() and not (here / "studies" / "s").exists()


def test_the_packages_of_a_study_may_change(trace: Path) -> None:
    run_here("plan", "study=s", "search.plugins=[stranger,json]")
    assert trace.exists()


@pytest.mark.thorough
def test_from_python(
    trace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finesweep.status().empty
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("s: search.plugins: study s imports stranger, ")
    for call in (
        lambda: finesweep.open(study="s"),
        lambda: finesweep.train(study="s", trial=0, show=False),
        lambda: finesweep.sweep("s", num_trials=2, show=False),
        lambda: finesweep.plan("s"),
    ):
        with pytest.raises(NotNamed, match="study s imports stranger"):
            call()
    assert not trace.exists()
    study = finesweep.open(NAMED, study="s")
    assert study.predict(["good"]) and trace.exists()
    monkeypatch.setenv(VARIABLE, "")
    assert list(finesweep.status(NAMED)["study"]) == ["s"]
    monkeypatch.setenv(VARIABLE, "")
    run = finesweep.train(None, NAMED, study="s", trial=0, show=False)
    assert run.scores == study.best.scores  # type: ignore[union-attr]


def test_other_words_are_still_refused_in_python(trace: Path) -> None:
    with pytest.raises(ConfigError, match=r"seed: study=s brings its own data, got seed=1"):
        finesweep.open(NAMED, "seed=1", study="s")
    with pytest.raises(ConfigError, match="status takes search"):
        finesweep.status("seed=1")


@pytest.mark.parametrize("text", ["a b", "[a,]b", "a.b", "os;sys"])
def test_the_variable_lists_packages(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ConfigError, match=f"{VARIABLE}: must list packages"):
        named_plugins()


def test_names_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "[a, b]")
    name_plugins(["b", "c", "no name"])
    assert named_plugins() == ("a", "b", "c")
    assert packages_of({"search": {"plugins": ["d"]}}) == ("d", "a", "b", "c")
    assert packages_of({}) == ("a", "b", "c")


def test_the_word_is_taken_from_commands_that_compose_nothing(here: Path) -> None:
    words = ["study=s", "search.plugins=['my_package']"]
    assert take_plugins("status", words) == ["study=s"]
    assert take_plugins("sweep", words) == words
    assert named_plugins() == ("my_package",)
    for wrong in ("search.plugins=mine", "search.plugins=[a b]", "search.plugins=[1]"):
        with pytest.raises(ConfigError, match=r"search.plugins: must be a list of packages"):
            take_plugins("status", [wrong])


def test_named_packages_are_enough(here: Path) -> None:
    name_plugins(["a", "b"])
    check_named("s", [{"search": {"plugins": ["b", "a"]}}], ["search.plugins=[a]"])
    with pytest.raises(NotNamed, match=r"add 'search.plugins=\[a,b,c\]', or export .*=a,b,c\."):
        check_named("s", [{"search": {"plugins": ["b", "c"]}}], [])
