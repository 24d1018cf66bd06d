"""What an earlier version wrote still opens, continues and predicts; see `tests/kept/README.md`."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from search.config import CONF_DIR, completed, compose, leaves
from tests.conftest import run_here

KEPT = Path(__file__).parent / "kept"
SCORES = {"accuracy": 0.5, "macro_f1": 0.333333, "mcc": 0.0}


@pytest.fixture
def kept(here: Path, one_thread: None) -> Path:
    shutil.copytree(KEPT, here, dirs_exist_ok=True)
    return here


def trials_in(folder: Path) -> list[dict[str, str]]:
    with (folder / "studies/small/trials.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_study_continues_to_a_larger_budget(kept: Path) -> None:
    words = "model=tiny strategy=lora logger=none search.workers=0 trainer.epochs=1"
    words += " data.max_length=32 search.keep=1 search.num_trials=3"
    printed = run_here("sweep", "study=small", *words.split())
    assert "3 complete" in printed
    assert "Trial and epoch are chosen by accuracy (search.select=metric)." in printed
    now, before = trials_in(kept), trials_in(KEPT)
    # A newer version scores more metrics; what stood there before is the same.
    assert [{name: row[name] for name in before[0]} for row in now[: len(before)]] == before
    assert len(now) == len(before) + 1


def test_a_study_shows_its_status(kept: Path) -> None:
    status = json.loads(run_here("status", "study=small", "--json"))
    assert status["states"]["complete"] == 2


def test_a_trial_repeats_to_the_same_score(kept: Path) -> None:
    printed = run_here("train", "study=small", "trial=1", "run=again")
    assert "to the same score" in printed


@pytest.mark.parametrize(("source", "log_loss"), [("study", 0.693152), ("run", 0.693225)])
def test_trained_weights_keep_their_scores(kept: Path, source: str, log_loss: float) -> None:
    scores = json.loads(run_here("evaluate", f"{source}=small", "--json"))
    assert scores.pop("calibrated_log_loss") <= log_loss
    assert scores.pop("brier") == pytest.approx(0.5, abs=1e-3)  # no more than a guess of two labels
    assert scores == pytest.approx(SCORES | {"log_loss": log_loss}, abs=1e-5)


@pytest.mark.parametrize("source", ["export", "study"])
def test_an_export_predicts_as_before(kept: Path, source: str) -> None:
    if source == "study":
        shutil.rmtree(kept / "export")
        run_here("export", "study=small", "to=export")
    run_here("predict", "model=export", "input=input.jsonl", "output=now.jsonl")
    for now, before in zip(
        (kept / "now.jsonl").read_text(encoding="utf-8").splitlines(),
        (KEPT / "export.jsonl").read_text(encoding="utf-8").splitlines(),
        strict=True,
    ):
        row, expected = json.loads(now), json.loads(before)
        assert row.pop("scores") == pytest.approx(expected.pop("scores"), abs=1e-5)
        assert row == expected


RUN = ("model=tiny", "strategy=full", "logger=none", "trainer.epochs=1", "data.max_length=32")


def interrupted(folder: Path) -> Path:
    """Leave of the kept run what there is before its first checkpoint."""
    run = folder / "runs/small"
    for path in run.iterdir():
        if path.name not in ("config.yaml", "provenance.json"):
            path.unlink()
    return run


def test_an_interrupted_run_continues_as_it_began(kept: Path) -> None:
    run = interrupted(kept)
    lines = run_here("train", "run=small", *RUN).splitlines()
    assert "kept strategy.lr=0.0001 (a new run: 0.0002)" in " ".join(" ".join(lines).split())
    scores = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    before = json.loads((KEPT / "runs/small/metrics.json").read_text(encoding="utf-8"))
    # Processors round bf16 differently: one without AMX gives 0.693227 in place of 0.693225.
    assert {name: scores[name] for name in before} == pytest.approx(before, abs=1e-5)
    text = (run / "config.yaml").read_text(encoding="utf-8")
    assert text == (KEPT / "runs/small/config.yaml").read_text(encoding="utf-8")


def test_a_run_refuses_named_settings_that_it_did_not_begin_with(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(kept)
    words = ("model=tiny", "strategy=lora", "logger=none", "trainer.epochs=2", "data.batch_size=8")
    run_here("train", "run=small", *words, code=2)
    lines = capsys.readouterr().err.splitlines()
    assert "trainer.epochs: must be as the run began to continue it, got 2. " in lines[-1]
    names = [line.partition(":")[0] for line in lines]
    assert names[-1] == "trainer.epochs" and "data.batch_size" in names
    assert "strategy._target_" in names


WORDS = (
    *("model=tiny", "strategy=lora", "logger=none", "search.workers=0", "trainer.epochs=1"),
    *("data.max_length=32", "search.keep=1"),
)
KEPT_SETTINGS = (
    "search/sampler=tpe (a new study: random)",
    "search/pruner=asha (a new study: median)",
    "search.max_attempts=3 (a new study: 5)",
    "strategy.lr=0.001 (a new study: 0.0003)",
    "optimizer.lr=0.001 (a new study: 0.0003)",
    "data.batch_size=choice(8, 16, 32) (a new study: choice(4, 64))",
    "optimizer.weight_decay not searched (a new study: interval(0, 0.1))",
)


@pytest.fixture
def other_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose from a copy of conf/ whose defaults are others than those the study began with."""
    conf = tmp_path / "other"
    shutil.copytree(CONF_DIR, conf)
    for name, old, new in (
        ("sweep", r"search/sampler: \w+", "search/sampler: random"),
        ("sweep", r"search/pruner: \w+", "search/pruner: median"),
        ("sweep", r"max_attempts: 3", "max_attempts: 5"),
        ("strategy/lora", r"(?m)^lr: \S+", "lr: 3e-4"),
        ("search/space/default", r"data.batch_size: .*", "data.batch_size: choice(4, 64)"),
        ("search/space/default", r"\Z", "optimizer.weight_decay: interval(0, 0.1)\n"),
    ):
        path = conf / f"{name}.yaml"
        text, count = re.subn(old, new, path.read_text(encoding="utf-8"))
        assert count == 1
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr("search.config.tree.CONF_DIR", conf)


def test_a_study_keeps_what_it_began_with_under_other_defaults(
    kept: Path, other_defaults: None
) -> None:
    printed = run_here("sweep", "study=small", *WORDS, "search.num_trials=3")
    assert "3 complete" in printed
    (line,) = [line for line in printed.splitlines() if line.startswith("kept ")]
    assert set(KEPT_SETTINGS) <= {*line.removeprefix("kept").strip().split("; ")}
    assert "kept" not in run_here("plan", "study=new", *WORDS)


def test_a_study_needs_no_word_again_but_its_name(kept: Path) -> None:
    printed = run_here("sweep", "study=small", "search.num_trials=3")
    assert "3 complete" in printed
    assert "kept    model=tiny strategy=lora" in printed
    assert "trainer.epochs not searched" not in printed  # by trainer.epochs=1 of the first command


def test_a_study_from_before_the_certificate_stays_without_one(kept: Path) -> None:
    words = ("plan", "study=small", "search.num_trials=3", "search.certify_seeds=3")
    printed = " ".join(run_here(*words).split())
    assert "search.certify=false (a new study: true)" in printed
    assert "certify the winner" not in printed


def test_what_the_command_names_is_compared(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_here("sweep", "study=small", "search/sampler=random", "strategy.rank=4", code=2)
    lines = capsys.readouterr().err.splitlines()
    named = {line.partition(":")[0] for line in lines}
    assert named >= {"search.sampler._target_", "strategy.rank"}
    assert all(name.startswith(("search.sampler.", "strategy.rank")) for name in named)


def test_every_key_that_the_study_lacks_has_its_earlier_behaviour() -> None:
    """A new key changes nothing for a study of before: search/config/legacy.py has its value."""
    tree = yaml.safe_load((KEPT / "studies/small/config.yaml").read_text(encoding="utf-8"))
    words = ("model=tiny", "strategy=lora", "search/sampler=tpe", "search/pruner=asha")
    now = compose("sweep", [*words, "logger=none"]).tree
    missing = leaves(now).keys() - leaves(completed(tree)).keys()
    assert [path for path in sorted(missing) if not path.startswith("search.space.")] == []
