"""The main task, as a user does it: a study by the real command, and all commands that read it."""

from __future__ import annotations

import csv
import json
import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from faults.wandb_record import wandb_records

from tests.conftest import command, run_here, wait_until

# An exported model is scored in fp32, so it repeats a score only if training used fp32 too.
FIXED = ("experiment=smoke", "trainer.epochs=2", "trainer.precision=fp32")
SMOKE = (*FIXED, "search.num_trials=3")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Path]:
    """Run one whole study with W&B on; change to its folder."""
    folder = tmp_path_factory.mktemp("study")
    environment = {**os.environ, "FINESWEEP_CACHE": str(cache), "WANDB_MODE": "offline"}
    done = subprocess.run(
        command("sweep", "study=s", *SMOKE),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "stdout").write_text(done.stdout)
    (folder / "stderr").write_text(done.stderr)
    yield folder


@pytest.fixture
def in_study(study: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(study)
    return study


def test_the_summary_shows_results_and_next_commands(study: Path) -> None:
    text = (study / "stdout").read_text()
    assert "3 trials" in text and "600 / 200 / 200 rows" in text
    ended = re.findall(r"(\d) (?:complete|pruned)", text.partition("best, trial")[0])
    assert sum(map(int, ended)) == 3
    assert "best, trial" in text
    assert "default configuration" in text
    for following in ("finesweep evaluate study=s split=test", "finesweep export study=s to=best/"):
        assert following in text
    longer = f"{' '.join(FIXED)} search.certify=false search.num_trials=6"
    assert f"finesweep sweep study=s {longer}" in text
    assert (study / "stderr").read_text() == ""


def test_all_documented_files_are_written(study: Path) -> None:
    folder = study / "studies" / "s"
    for name in ("study.db", "config.yaml", "provenance.json", "trials.csv"):
        assert (folder / name).is_file(), name
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["packages"]["torch"] and provenance["seed"] == 0
    assert len(provenance["data_sha256"]) == 64
    with (folder / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["number"] for row in rows] == ["0", "1", "2"]
    assert rows[0]["optimizer.lr"] == "0.003"  # trial 0 is the unmodified default
    for number in range(3):
        attempt = folder / "trials" / f"{number:04d}" / "attempt-1"
        assert json.loads((attempt / "outcome.json").read_text())["ending"]
        assert "optimizer:" in (attempt / "config.yaml").read_text()


def test_status_as_json(in_study: Path) -> None:
    status = json.loads(run_here("status", "study=s", "--json"))
    assert status["study"] == "s"
    assert sum(status["states"].values()) == 3
    assert status["states"]["complete"] + status["states"]["pruned"] == 3
    assert status["remaining"] == 0
    assert set(status["best"]) >= {"number", "value", "params"}
    gain = status["best"]["gain"]
    assert gain["low"] <= gain["value"] <= gain["high"] and gain["level"] == 0.95
    assert set(status["best"]["params"]) == {"optimizer.lr", "data.batch_size"}


def test_evaluate_repeats_the_winners_score(in_study: Path) -> None:
    best = json.loads(run_here("status", "study=s", "--json"))["best"]
    scores = json.loads(run_here("evaluate", "study=s", "--json"))
    assert scores == best["metrics"]
    assert set(json.loads(run_here("evaluate", "study=s", "split=test", "--json"))) == set(scores)


def test_the_exports_predictions_match_its_score(in_study: Path) -> None:
    run_here("export", "study=s", "to=best")
    reviews = Path(__file__).parents[3] / "lightning_modules" / "rows" / "reviews.jsonl"
    rows = [json.loads(line) for line in reviews.read_text().splitlines()]
    test = [row for row in rows if row["split"] == "test"]
    Path("new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in test))
    run_here("predict", "model=best", "input=new.jsonl", "output=out.jsonl")
    out = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [row["text"] for row in out] == [row["text"] for row in test]
    accuracy = sum(row["prediction"] == row["label"] for row in out) / len(out)
    scores = json.loads(run_here("evaluate", "study=s", "split=test", "--json"))
    assert accuracy == pytest.approx(scores["accuracy"])
    assert all(sum(row["scores"].values()) == pytest.approx(1, abs=1e-5) for row in out)
    exported = json.loads(run_here("evaluate", "model=best", "split=test", "--json"))
    assert exported == scores
    before = Path("out.jsonl").read_bytes()
    run_here("predict", "model=best", "input=new.jsonl", "output=out.jsonl", code=2)
    run_here("export", "study=s", "to=best", code=2)
    assert Path("out.jsonl").read_bytes() == before


@pytest.mark.thorough
def test_wandb_has_one_run_per_trial_with_config_curve_and_summary(study: Path) -> None:
    runs = sorted((study / "studies" / "s" / "wandb").glob("offline-run-*"))
    assert len(runs) == 4
    names, job_types = set(), []
    for run in runs:
        records = wandb_records(run)
        (start,) = [record["run"] for record in records if record["type"] == "run"]
        assert start["run_group"] == "s"
        job_types.append(start["job_type"])
        if start["job_type"] == "study":
            continue  # tests/search/report/test_wandb.py reads it
        assert start["tags"] == ["tiny", "full", "reviews", "classification"]
        names.add(start["display_name"])
        config = start["config"]["update"]
        assert config["strategy"] == "full" and config["optimizer.lr"] > 0
        history = [record["history"] for record in records if record["type"] == "history"]
        assert any("validation/accuracy" in json.dumps(entry) for entry in history)
        assert any("train/loss" in json.dumps(entry) for entry in history)
        summaries = json.dumps([r for r in records if r["type"] == "summary"])
        assert "best/accuracy" in summaries and "verdict" in summaries
    assert names == {"s trial 0", "s trial 1", "s trial 2"}
    assert sorted(job_types) == ["study", "trial", "trial", "trial"]


def test_stock_optuna_reads_the_study(in_study: Path) -> None:
    optuna = Path(sys.executable).with_name("optuna")
    storage = "sqlite:///studies/s/study.db"
    words = ["trials", "--study-name", "s", "--storage", storage, "-f", "json"]
    done = subprocess.run([optuna, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    trials = json.loads(done.stdout)
    assert [trial["number"] for trial in trials] == [0, 1, 2]
    assert {trial["state"] for trial in trials} <= {"COMPLETE", "PRUNED"}


def test_stock_dashboard_serves_the_study(study: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dashboard = Path(sys.executable).with_name("optuna-dashboard")
    words = ["sqlite:///studies/s/study.db", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen([dashboard, *words], cwd=study, stderr=subprocess.DEVNULL)
    try:
        (summary,) = get(f"http://127.0.0.1:{port}/api/studies")["study_summaries"]
        assert summary["study_name"] == "s"
        detail = get(f"http://127.0.0.1:{port}/api/studies/{summary['study_id']}")
        assert [trial["number"] for trial in detail["trials"]] == [0, 1, 2]
    finally:
        server.terminate()
        server.wait(timeout=60)


def get(url: str) -> Any:
    """Return the JSON at `url`, once its server answers."""

    def answer() -> Any:
        with suppress(urllib.error.URLError), urllib.request.urlopen(url, timeout=60) as found:
            return json.load(found)

    return wait_until(answer, f"an answer from {url}")


@pytest.mark.thorough
def test_repeating_the_command_adds_nothing_and_a_higher_budget_adds_trials(in_study: Path) -> None:
    before = json.loads(run_here("status", "study=s", "--json"))
    assert "continuing: 3 of 3" in run_here("sweep", "study=s", *SMOKE)
    assert json.loads(run_here("status", "study=s", "--json")) == before
    run_here("sweep", "study=s", *SMOKE, "search.num_trials=4", "search.workers=0")
    after = json.loads(run_here("status", "study=s", "--json"))
    assert after["num_trials"] == 4 and after["remaining"] == 0
