"""One study over three strategies, as a user runs it: table, JSON, and repeating the winner."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from search.cli import main
from tests.conftest import run_here, wait_until, without_certificate

FINESWEEP = str(Path(sys.executable).with_name("finesweep"))
STRATEGIES = ["lora", "feature_extraction", "full"]  # the default arm first
WORDS = (
    "study=ways",
    "model=tiny",
    "strategy=choice(feature_extraction,lora,full)",
    "strategy.rank=choice(4,8)",
    "trainer.epochs=1",
    "search.num_trials=5",
)


def ask(*words: str, cwd: Path, **own: str) -> str:
    """Run the command with `own` added to the environment; return its output."""
    done = subprocess.run(
        [FINESWEEP, *without_certificate(words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, **own},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ask_here(*words: str, cwd: Path) -> str:
    """Run the command in this process; return its output."""
    with contextlib.chdir(cwd):
        return run_here(*words)


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """Run the study; its output is in the file `stdout`."""
    folder = tmp_path_factory.mktemp("ways")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FINESWEEP_CACHE", str(cache))
        patch.setenv("WANDB_MODE", "offline")
        printed = ask_here("sweep", *WORDS, "search.workers=0", cwd=folder)
    (folder / "stdout").write_text(printed)
    return folder


@pytest.mark.thorough
def test_the_default_of_every_arm_is_tried_and_shown(ways: Path) -> None:
    with (ways / "studies/ways/trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["strategy"] for row in rows[:3]] == STRATEGIES
    assert [row["optimizer.lr"] for row in rows[:3]] == ["0.001", "0.01", "0.0002"]
    assert all(bool(row["strategy.rank"]) == (row["strategy"] == "lora") for row in rows)
    text = (ways / "stdout").read_text()
    assert "strategy feature_extraction, lora or full" in text
    assert "optimizer.lr[full]  tag(log, interval(5e-05, 0.0005))  (default 0.0002)" in text
    for strategy in STRATEGIES:
        assert f"best {strategy}, trial" in text or f"strategy={strategy}" in text


@pytest.mark.thorough
def test_json_has_only_the_settings_of_each_arm(ways: Path) -> None:
    best = json.loads(ask_here("status", "study=ways", "--json", cwd=ways))["best"]
    expected = {"strategy", "optimizer.lr", "data.batch_size"}
    expected |= {"strategy.rank"} if best["params"]["strategy"] == "lora" else set()
    assert best["params"].keys() == expected


@pytest.mark.thorough
def test_the_winners_command_repeats_its_scores(ways: Path, tmp_path: Path) -> None:
    lines = (ways / "stdout").read_text().splitlines()
    (at,) = [n for n, line in enumerate(lines) if line.startswith("Train the best trial again")]
    prefix, _, rest = lines[at + 1].strip().partition("finesweep ")
    threads = dict(word.split("=") for word in prefix.split())
    best = json.loads(ask_here("status", "study=ways", "--json", cwd=ways))["best"]
    scores = json.loads(ask(*shlex.split(rest), "--json", cwd=tmp_path, **threads))
    assert scores == {f"validation/{name}": value for name, value in best["metrics"].items()}
    (config,) = tmp_path.glob("runs/*/config.yaml")
    assert ("rank:" in config.read_text()) == (best["params"]["strategy"] == "lora")


@pytest.mark.thorough
def test_any_trial_can_be_repeated_from_its_study(
    ways: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = ask_here("train", "study=ways", "trial=1", cwd=ways)
    assert "It repeats trial 1 of study ways, to the same score." in printed
    assert (ways / "runs/ways-trial-1/metrics.json").is_file()
    for words, line in (
        (("study=ways", "trial=99"), "trial: must be a trial of study ways, 0 to 4, got '99'."),
        (("study=ways",), "trial: must be set, got nothing. Add trial=..."),
        (("study=ways", "trial=1", "seed=3"), "seed: a trial brings its own configuration"),
    ):
        monkeypatch.chdir(ways)
        assert main(["train", *words]) == 2
        assert capsys.readouterr().err.startswith(line)


@pytest.mark.thorough
def test_studies_are_listed(ways: Path) -> None:
    header, line = ask_here("status", cwd=ways).splitlines()
    assert header.split() == ["study", "trials", "state", "best", "objective", "changed"]
    assert line.split()[:3] == ["ways", "5/5", "done"]
    (entry,) = json.loads(ask_here("status", "--json", cwd=ways))
    assert (entry["study"], entry["num_ended"], entry["state"]) == ("ways", 5, "done")


@pytest.mark.thorough
def test_a_stopped_study_ends_after_its_running_trial_and_can_continue(here: Path) -> None:
    # Ten epochs: enough time to stop the study meanwhile.
    words = ("sweep", "study=k", "experiment=smoke", "logger=none", "trainer.epochs=10")
    words += ("search.num_trials=2", "search/pruner=none")
    sweep = subprocess.Popen(
        [FINESWEEP, *without_certificate(words)], cwd=here, stdout=subprocess.PIPE, text=True
    )
    labels = here / "studies/k/trials/0000/attempt-1/labels.json"
    wait_until(labels.is_file, "the start of the first trial", 120)
    assert "ends after its running trial" in run_here("stop", "study=k")
    output, _ = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, output
    assert "Stopped by finesweep stop, 1 trial left: run the same command to continue." in output
    state = json.loads(run_here("status", "study=k", "--json"))
    assert state["states"]["complete"] == 1 and state["stopping"]
    assert "It starts no more trials" in run_here("status", "study=k")
    run_here(*words, "search.workers=0")
    assert json.loads(run_here("status", "study=k", "--json"))["remaining"] == 0
