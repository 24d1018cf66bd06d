"""The study's own run in W&B, read back from the real offline log."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from faults.wandb_record import wandb_records

from search.config import compose
from search.plan.build import build_plan
from search.report.wandb import log_study
from search.storage.location import study_folder
from search.study.prepare import check_study, prepare_study
from search.study.session import join
from search.study.study import Study
from search.trained.export import export_winner


def study_of(root: Path, *words: str) -> Study:
    plan = build_plan(compose("sweep", ["model=tiny", "study=s", *words]))
    folder = study_folder(root, plan.name)
    return prepare_study(plan, folder, check_study(plan, folder))


def score_all(study: Study) -> None:
    """Finish every trial with a score that its learning rate decides."""
    session = join(study)
    while (attempt := session.next_attempt()) is not None:
        trial = study.trials[attempt.number]
        attributes = {"metrics": {"accuracy": 0.5}, "verdict": "fits", "seconds": 1.0}
        for name, value in attributes.items():
            study.optuna._storage.set_trial_user_attr(trial._trial_id, name, value)
        study.optuna.tell(attempt.number, min(1.0, 10 * attempt.values["optimizer.lr"]))


@pytest.mark.thorough
def test_study_run_has_table_history_and_importance(here: Path) -> None:
    study = study_of(here, "strategy=choice(lora,full)", "search.num_trials=24")
    score_all(study)
    log_study(study)
    (run,) = (study.folder / "wandb").glob("offline-run-*")
    records = wandb_records(run)
    (start,) = [record["run"] for record in records if record["type"] == "run"]
    assert (start["run_group"], start["job_type"]) == ("s", "study")
    assert start["display_name"] == "s (study)"
    assert start["tags"] == ["tiny", "lora", "reviews", "classification"]
    for name in ("trials", "history", "importance", "best/optimizer.lr"):
        assert name in json.dumps(records), name
    tables = {path.name.split("_")[0]: json.loads(path.read_text()) for path in tables_of(run)}
    trials = tables["trials"]
    assert {"number", "state", "value", "strategy", "optimizer.lr"} <= set(trials["columns"])
    assert len(trials["data"]) == 24


def tables_of(run: Path) -> list[Path]:
    return sorted((run / "files" / "media" / "table").rglob("*.table.json"))


def test_study_without_a_result_logs_nothing(here: Path) -> None:
    study = study_of(here)
    log_study(study)
    assert not (study.folder / "wandb").exists()


def test_without_a_logger_there_is_no_run(here: Path) -> None:
    study = study_of(here, "logger=none", "search.num_trials=1")
    score_all(study)
    log_study(study)
    assert not (study.folder / "wandb").exists()


def test_the_report_is_an_artifact_of_the_studys_run(here: Path) -> None:
    study = study_of(here, "search.num_trials=1")
    score_all(study)
    page = here / "report.html"
    page.write_text("<p>verdict</p>")
    assert log_study(study, [page]) == []
    (run,) = (study.folder / "wandb").glob("offline-run-*")
    records = json.dumps(wandb_records(run))
    assert "report-s" in records and "report.html" in records
    staged = [path for path in run.rglob("*") if path.is_file() and "verdict" in text_of(path)]
    assert any(path.name in records for path in staged), (staged, records[-2000:])


def test_the_exported_model_is_an_artifact_if_asked(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    study = study_of(here, "search.num_trials=1", "logger.upload_model=true")
    score_all(study)

    def export(to: Path) -> None:
        (to / "inside").mkdir(parents=True)
        (to / "inside" / "weights.txt").write_text("verdict: the weights")

    assert log_study(study, export=export) == []
    (run,) = (study.folder / "wandb").glob("offline-run-*")
    records = json.dumps(wandb_records(run))
    assert "model-s" in records and "weights.txt" in records
    staged = [path for path in run.rglob("*") if path.is_file() and "verdict" in text_of(path)]
    assert any(path.name in records for path in staged)
    assert not [*study.folder.glob(".model-*")]
    assert "wandb:" not in "".join(capfd.readouterr())


def test_a_model_that_cannot_be_exported_is_one_line(here: Path) -> None:
    study = study_of(here, "search.num_trials=1", "logger.upload_model=true")
    score_all(study)
    (line,) = log_study(study, export=partial(export_winner, study))
    assert line.startswith("the model is not in W&B: ") and "\n" not in line
    assert not [*study.folder.glob(".model-*")]


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.suffix != ".wandb" else ""
