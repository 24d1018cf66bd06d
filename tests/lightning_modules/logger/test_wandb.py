"""The content of the logs of the real W&B, offline."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from faults.wandb_record import wandb_records

from lightning_modules.fit import fit
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity, RunLog
from lightning_modules.logger.none import NoLogger
from lightning_modules.logger.wandb import Mode, Wandb, _packages
from lightning_modules.outcome import Ending
from search.config import build_run, compose
from tests.conftest import SmallDisk

LOGGER = Wandb(project="tests", entity=None, mode=Mode.offline, upload_model=False)
ROWS = [
    {"number": 0, "accuracy": 0.5, "strategy": "full"},
    {"number": 1, "accuracy": 0.75, "strategy": "lora", "rank": 8},
    {"number": 2, "accuracy": None, "strategy": "lora", "rank": "auto"},
]


@pytest.fixture
def identity(here: Path) -> Identity:
    return Identity("s", "s", here / "s", "study", ("tiny", "reviews"))


def run_folder(folder: Path) -> Path:
    (run,) = (folder / "wandb").glob("offline-run-*")
    return run


def of_type(folder: Path, name: str) -> list[dict[str, Any]]:
    records = wandb_records(run_folder(folder))
    return [record[name] for record in records if record["type"] == name]


def history(folder: Path) -> dict[str, Any]:
    items: dict[str, Any] = {}
    for entry in of_type(folder, "history"):
        items.update(entry["item"])
    return items


def shown(folder: Path, name: str) -> dict[str, Any]:
    """Return the table `name` in the log."""
    path = run_folder(folder) / "files" / history(folder)[f"{name}.path"]
    table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return table


def chart(folder: Path, name: str) -> dict[str, Any]:
    key = f"_wandb.visualize.{name}"
    updates = [entry["update"] for entry in of_type(folder, "config")]
    (config,) = [update[key]["panel_config"] for update in updates if key in update]
    return dict(config)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


@pytest.mark.thorough
def test_every_run_of_a_process_lists_the_installed_packages(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = []
    for name in ("one", "two", "of another version"):
        if name == "of another version":  # of W&B, without a private function that is used
            _packages.cache_clear()
            with monkeypatch.context() as patch:
                patch.delattr("wandb.util.working_set")
                assert _packages() is None
        LOGGER.open(Identity(name, "s", here / name, "trial"), {}).finish({})
        lists.append((run_folder(here / name) / "files" / "requirements.txt").read_text())
    _packages.cache_clear()
    assert lists[0] == lists[1] == lists[2]
    packages = dict(line.split("==") for line in lists[0].splitlines())
    assert packages["optuna"] == optuna.__version__ and len(packages) > 50


@pytest.mark.thorough
def test_a_run_has_its_name_group_tags_and_config(identity: Identity) -> None:
    LOGGER.open(identity, {"seed": 0}).finish({"best": 0.75})
    (run,) = of_type(identity.folder, "run")
    assert (run["display_name"], run["run_group"], run["job_type"]) == ("s", "s", "study")
    assert run["tags"] == ["tiny", "reviews"]
    assert run["config"]["update"]["seed"] == 0
    assert any(entry["update"].get("best") == 0.75 for entry in of_type(identity.folder, "summary"))


def test_a_single_run_has_neither_group_nor_tags(here: Path) -> None:
    LOGGER.open(Identity("one", None, here), {}).finish({})
    (run,) = of_type(here, "run")
    assert run["job_type"] == "run"
    assert "run_group" not in run and "tags" not in run


def test_invalid_tags_are_shortened_or_left_out(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    LOGGER.open(Identity("one", None, here, tags=("", "x" * 65, "é")), {}).finish({})
    (run,) = of_type(here, "run")
    assert run["tags"] == ["x" * 64, "é"]
    assert not warnings(caplog)


def test_a_table_has_every_column_of_any_row(identity: Identity) -> None:
    log = LOGGER.open(identity, {})
    log.table("trials", ROWS)
    log.table("nothing", [])
    log.finish({})
    assert shown(identity.folder, "trials") == {
        "columns": ["number", "accuracy", "strategy", "rank"],
        "data": [
            [0, 0.5, "full", None],
            [1, 0.75, "lora", 8],
            [2, None, "lora", "auto"],
        ],
    }
    assert "nothing.path" not in history(identity.folder)


@pytest.mark.thorough
def test_lines_and_bars_are_charts_over_a_table(identity: Identity) -> None:
    rows = [{"trial": 1, "value": 0.5, "best": 0.5}, {"trial": 2, "value": None, "best": 0.5}]
    log = LOGGER.open(identity, {})
    log.line("history", rows, "trial", ["value", "best"], "The best so far")
    log.bars("importance", [{"name": "lr", "of": 0.9}, {"name": "x"}], "name", "of", "Importance")
    log.finish({})
    line, bars = chart(identity.folder, "history"), chart(identity.folder, "importance")
    assert line["stringSettings"] == {"title": "The best so far", "xname": "trial"}
    assert bars["stringSettings"] == {"title": "Importance"}
    assert bars["fieldSettings"] == {"label": "name", "value": "of"}
    points = shown(identity.folder, "history_table")["data"]
    assert points == [[1, "value", 0.5], [1, "best", 0.5], [2, "best", 0.5]]
    assert shown(identity.folder, "importance_table")["data"] == [["lr", 0.9]]


def test_no_files_are_left_outside_the_folder(
    identity: Identity, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = here / "home"
    home.mkdir()
    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    log = LOGGER.open(identity, {})
    log.table("trials", ROWS)
    log.finish({})
    assert not list(home.rglob("*"))
    assert "WANDB_DATA_DIR" not in os.environ
    assert list(run_folder(identity.folder).glob("artifacts/staging/*"))


def test_a_log_is_in_its_folder_after_a_change_of_directory(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LOGGER.open(Identity("a", "s", here / "a", "trial", ("tiny",)), {}).finish({})
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    LOGGER.open(Identity("b", "s", Path("b"), "trial", ("tiny",)), {}).finish({})
    assert wandb_records(run_folder(here / "elsewhere" / "b"))[-1]["type"] == "exit"


def test_a_failed_log_stops_and_still_closes(
    identity: Identity, here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = LOGGER.open(identity, {})
    log.log({7: 1.0}, step=1)  # type: ignore[dict-item] - W&B accepts only names
    log.table("trials", ROWS)
    log.finish({})
    (warning,) = warnings(caplog)
    assert "W&B logging stopped" in warning and "must be strings" in warning
    assert [record["type"] for record in wandb_records(run_folder(identity.folder))][-1] == "exit"


def test_an_empty_log_accepts_every_call(identity: Identity) -> None:
    log = NoLogger().open(identity, {})
    assert type(log) is RunLog
    log.log({"loss": 1.0}, step=1)
    log.table("trials", ROWS)
    log.line("history", ROWS, "number", ["accuracy"], "")
    log.bars("importance", ROWS, "number", "accuracy", "")
    log.finish({})
    assert not identity.folder.exists()


@pytest.mark.thorough
def test_training_logs_mistakes_and_confusion(here: Path) -> None:
    words = ("model=tiny", "strategy=full", "trainer.epochs=1", "strategy.lr=1e-9")
    run = build_run(compose("train", [*words, "data.batch_size=100"]).tree)
    outcome = fit(run, here / "run", Identity("t", "s", here, "trial", ("tiny",)))
    (record,) = of_type(here, "run")
    assert (record["job_type"], record["tags"]) == ("trial", ["tiny"])
    mistakes = shown(here, "validation/mistakes")
    written = [json.loads(line) for line in (here / "run/mistakes.jsonl").open(encoding="utf-8")]
    assert len(written) > 20  # guesses on 200 rows
    assert mistakes["columns"] == list(written[0])
    assert mistakes["data"] == [list(mistake.values()) for mistake in written[:20]]
    counts = shown(here, "validation/confusion")
    assert counts["columns"] == ["label", "predicted negative", "predicted positive"]
    assert sum(sum(row[1:]) for row in counts["data"]) == 200
    # The curve and the summary are in the log, too.
    assert history(here)["validation/accuracy"] == outcome.points[-1].metrics["accuracy"]
    summary = [entry["update"] for entry in of_type(here, "summary")]
    assert any(entry.get("ending") == "finished" for entry in summary)


@pytest.mark.thorough
def test_confusion_of_many_labels_is_only_in_the_file(here: Path) -> None:
    rows = [{"text": f"It is {n}.", "label": f"class {n % 80:02d}"} for n in range(800)]
    path = here / "many.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    words = ("model=tiny", "strategy=full", "trainer.epochs=1", "data=files", f"data.train={path}")
    run = build_run(compose("train", list(words)).tree)
    fit(run, here / "run", Identity("t", None, here))
    assert len((here / "run/confusion.jsonl").read_text().splitlines()) == 80
    assert "validation/mistakes.path" in history(here)
    assert "validation/confusion.path" not in history(here)


class Notes(Hooks):
    def __init__(self, disk: SmallDisk, fill: int) -> None:
        self.disk, self.fill = disk, fill
        self.notes: list[str] = []

    def on_step(self, step: int, num_steps: int) -> None:
        if step == self.fill:
            self.disk.fill()

    def warn(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.parametrize("fill", [0, 3])
def test_a_full_disk_stops_the_log_but_not_the_run(
    here: Path, small_disk: SmallDisk, capfd: pytest.CaptureFixture[str], fill: int
) -> None:
    words = ("model=tiny", "strategy=full", "trainer.epochs=1", "data.batch_size=100")
    run = build_run(compose("train", [*words, "trainer.log_every_steps=1"]).tree)
    hooks = Notes(small_disk, fill)
    hooks.on_step(0, 0)
    outcome = fit(run, here / "run", Identity("t", None, small_disk.folder), hooks)
    assert outcome.ending is Ending.finished
    what = "logging stopped" if fill else "logging is off for this run"
    assert hooks.notes == [
        f"W&B {what}: the disk is full: {small_disk.folder} needs 0.3 MB, 0 bytes are free"
    ]
    assert "Traceback" not in capfd.readouterr().err
    written = {path.name for path in (here / "run").iterdir()}
    assert {"best.safetensors", "mistakes.jsonl", "outcome.json"} <= written


FORKED = """
import os
import subprocess
import sys
import sys
from pathlib import Path

import wandb  # like the process from which workers are forked

from lightning_modules.logger.base import Identity
from lightning_modules.logger.wandb import Mode, Wandb, _packages

worker = os.fork()
if worker == 0:
    logger = Wandb(project="tests", entity=None, mode=Mode.offline, upload_model=False)
    log = logger.open(Identity("a", "s", Path("s"), "trial"), {})
    settings = log._run.settings
    log.finish({})
    is_its_own = settings.x_stats_pid == os.getpid() and not settings.x_disable_stats
    os._exit(0 if is_its_own else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]))
"""


@pytest.mark.thorough
def test_system_metrics_are_those_of_the_worker_that_logs(here: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], cwd=here, check=False)
    assert done.returncode == 0
