from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.artifacts import get_all_artifact_meta
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import FrozenTrial
from optuna_dashboard import get_note
from optuna_dashboard._note import save_note_with_version

from lightning_modules.outcome import Ending, Outcome, Point
from search.report.dashboard.artifact import (
    CURVE,
    FOLDER,
    MATRIX,
    MAX_CHARACTERS,
    TABLE,
    WRITTEN,
    ArtifactStore,
)
from search.report.dashboard.page import COLUMNS, MARK, MAX_NOTES, show_study, show_trial
from search.storage.engine import open_storage
from tests.conftest import write_jsonl

POINTS = [
    Point(number, number * 10, number * 80, number / 2, 0.7 / number, 0.6, {"f1": 0.8}, 1.0)
    for number in (1, 2, 3)
]
CONFUSION = [
    {"label": "label", "predicted label": 9, "predicted other": 1},
    {"label": "other", "predicted label": 3, "predicted other": 7},
]
MISTAKES = [
    {"text": "a b", "label": "other", "prediction": "label", "probability": 0.9},
    {"text": "long " * 1000, "label": "label", "prediction": "other", "probability": 0.6},
]


@pytest.fixture
def study(here: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name="mine", storage=open_storage(here / "study.db"), direction="maximize"
    )


@pytest.fixture
def attempt(here: Path) -> Path:
    """Write the files of a finished attempt."""
    return write_attempt(here, 0)


def home(here: Path) -> Path:
    return here / "studies" / "mine"


def write_attempt(here: Path, number: int, attempt: int = 1) -> Path:
    folder = home(here) / "trials" / f"{number:04d}" / f"attempt-{attempt}"
    folder.mkdir(parents=True)
    write_outcome(folder)
    write_jsonl(folder / "confusion.jsonl", CONFUSION)
    write_jsonl(folder / "mistakes.jsonl", MISTAKES)
    return folder


def write_outcome(folder: Path, **changed: Any) -> None:
    outcome = Outcome(
        Ending.finished,
        "trained to the end",
        POINTS[1],
        POINTS,
        75.3,
        10,
        2000,
        "cpu, fp32",
        2,
        "fits",
    )
    values = {**outcome.as_dict(), **changed}
    (folder / "outcome.json").write_text(json.dumps(values))


def running(study: optuna.Study) -> FrozenTrial:
    return study._storage.get_trial(study.ask()._trial_id)


def show(study: optuna.Study, trial: FrozenTrial, folder: Path, failure: str | None = None) -> None:
    show_trial(study, trial, folder, failure)


def note_of(study: optuna.Study, trial: FrozenTrial) -> str:
    return get_note(optuna.trial.Trial(study, trial._trial_id))


def artifacts_of(study: optuna.Study, trial: FrozenTrial, here: Path) -> dict[str, bytes]:
    found, store = {}, ArtifactStore(home(here), lambda _: "f1")
    for meta in get_all_artifact_meta(trial, storage=study._storage):
        assert meta.filename not in found
        found[meta.filename] = store.open_reader(meta.artifact_id).read()
    return found


def test_an_attempts_files_become_artifacts_and_stay_after_its_result(
    study: optuna.Study, attempt: Path, here: Path
) -> None:
    trial = running(study)
    show(study, trial, attempt)
    study.tell(trial.number, 0.8)
    artifacts = artifacts_of(study, trial, here)
    assert artifacts.keys() == {CURVE, MATRIX, TABLE}
    assert artifacts[CURVE][1:4] == artifacts[MATRIX][1:4] == b"PNG"
    rows = [json.loads(line) for line in artifacts[TABLE].decode().splitlines()]
    assert rows[0] == MISTAKES[0]
    assert len(rows[1]["text"]) == MAX_CHARACTERS + 1
    kinds = {m.filename: m.mimetype for m in get_all_artifact_meta(trial, storage=study._storage)}
    assert kinds == {CURVE: "image/png", MATRIX: "image/png", TABLE: "application/jsonl"}


def test_generated_texts_become_a_table(study: optuna.Study, attempt: Path, here: Path) -> None:
    texts = {"source": "long " * 1000, "reference": "a b", "generated": "a | b", "score": 0.5}
    write_jsonl(attempt / "generated.jsonl", [texts])
    trial = running(study)
    show(study, trial, attempt)
    artifacts = artifacts_of(study, trial, here)
    assert artifacts.keys() == {CURVE, MATRIX, TABLE, WRITTEN}
    (written,) = [json.loads(line) for line in artifacts[WRITTEN].decode().splitlines()]
    assert len(written.pop("source")) == MAX_CHARACTERS + 1
    assert written == {"reference": "a b", "generated": "a | b", "score": 0.5}
    assert "generated.jsonl" not in note_of(study, trial)  # it is not a picture


@pytest.mark.parametrize(
    ("files", "artifacts"),
    [
        ((), set()),
        (("outcome.json",), {CURVE}),
        (("outcome.json", "mistakes.jsonl"), {CURVE, TABLE}),
        (("mistakes.jsonl", "confusion.jsonl"), {TABLE, MATRIX}),
    ],
)
def test_missing_files_mean_fewer_artifacts(
    files: tuple[str, ...],
    artifacts: set[str],
    study: optuna.Study,
    attempt: Path,
    here: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for path in list(attempt.iterdir()):
        if path.name not in files:
            path.unlink()
    trial = running(study)
    show(study, trial, attempt)
    assert artifacts_of(study, trial, here).keys() == artifacts
    note = note_of(study, trial)
    assert "finesweep train study=mine trial=0" in note
    assert "see `logs/`" not in note
    assert not caplog.records


def test_a_trial_without_mistakes_has_no_table_of_them(
    study: optuna.Study, attempt: Path, here: Path
) -> None:
    write_jsonl(attempt / "mistakes.jsonl", [])
    trial = running(study)
    show(study, trial, attempt)
    assert artifacts_of(study, trial, here).keys() == {CURVE, MATRIX}


def test_a_trial_shows_its_last_attempt(study: optuna.Study, attempt: Path, here: Path) -> None:
    trial = running(study)
    show(study, trial, attempt)
    before, note = artifacts_of(study, trial, here), note_of(study, trial)
    for number in (2, 10):  # 10 is later than 2, though not as text
        last = write_attempt(here, 0, number)
    write_outcome(last, points=[asdict(point) for point in POINTS[:2]])
    show(study, study._storage.get_trial(trial._trial_id), last)
    after = artifacts_of(study, trial, here)
    assert after[MATRIX] == before[MATRIX] and after[CURVE] != before[CURVE]
    assert note_of(study, trial) == note


def test_a_broken_table_affects_neither_the_trial_nor_other_artifacts(
    study: optuna.Study, attempt: Path, here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (attempt / "confusion.jsonl").write_text('{"label": "half of a l')
    trial = running(study)
    show(study, trial, attempt)
    study.tell(trial.number, 0.8)
    store = ArtifactStore(home(here), lambda _: "f1")
    ids = {m.filename: m.artifact_id for m in get_all_artifact_meta(trial, storage=study._storage)}
    for name in (CURVE, TABLE):
        assert store.open_reader(ids[name]).read()
    with pytest.raises(ArtifactNotFound, match="Unterminated string"):
        store.open_reader(ids[MATRIX])
    assert MATRIX in caplog.text and "JSONDecodeError" in caplog.text


def test_each_study_of_a_storage_shows_its_own_pictures(
    study: optuna.Study, attempt: Path, here: Path
) -> None:
    inside = home(here) / "mine.certify" / "trials" / "0000" / "attempt-1"
    inside.mkdir(parents=True)
    write_outcome(inside, points=[asdict(point) for point in POINTS[:2]])
    found = {}
    for each, folder in ((study, attempt), (again_of(study), inside)):
        trial = running(each)
        show(each, trial, folder)
        found[each.study_name] = artifacts_of(each, trial, here)  # from the store of `mine`
    assert found["mine"].keys() == {CURVE, MATRIX, TABLE}
    assert found["mine.certify"].keys() == {CURVE}
    assert found["mine.certify"][CURVE] != found["mine"][CURVE]


def again_of(study: optuna.Study) -> optuna.Study:
    """Return a study that follows another one, in its storage."""
    return optuna.create_study(study_name=f"{study.study_name}.certify", storage=study._storage)


def test_artifacts_of_an_earlier_version_are_read(here: Path) -> None:
    name = "7f1a4e2c-3d50-4b6e-9d6a-0a1b2c3d4e5f"
    (home(here) / FOLDER).mkdir(parents=True)
    (home(here) / FOLDER / name).write_bytes(b"a picture")
    store = ArtifactStore(home(here), lambda _: "f1")
    assert store.open_reader(name).read() == b"a picture"
    for missing in (f"{b'mine'.hex()}-0007-0", "ff-0007-0", "6-0007-0", name.replace("7", "8")):
        with pytest.raises(ArtifactNotFound):
            store.open_reader(missing)


def test_a_broken_outcome_does_not_affect_the_trial(
    study: optuna.Study, attempt: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (attempt / "outcome.json").write_text("[]")
    trial = running(study)
    show(study, trial, attempt)
    assert "AssertionError" in caplog.text
    study.tell(trial.number, 0.8)


def test_the_note_shows_how_the_trial_ended_and_its_scores(
    study: optuna.Study, attempt: Path
) -> None:
    trial = running(study)
    show(study, trial, attempt)
    note = note_of(study, trial)
    assert "**Finished**: trained to the end." in note
    assert "**Verdict**: fits." in note
    assert "| best at epoch | f1 |" in note and "| 1 | 0.8 |" in note
    assert "1 min 15 s of training on cpu, fp32; 10 of 2,000 parameters trained." in note
    for meta in get_all_artifact_meta(trial, storage=study._storage):
        path = f"/artifacts/{study._study_id}/{trial._trial_id}/{meta.artifact_id}"
        assert (f"({path})" in note) == (meta.filename != TABLE)


def test_a_diverged_run_without_a_validation_has_a_note_and_no_curve(
    study: optuna.Study, attempt: Path, here: Path
) -> None:
    reason = "the validation loss became nan at step 3"
    write_outcome(attempt, ending="diverged", reason=reason, best=None, points=[])
    trial = running(study)
    show(study, trial, attempt)
    assert artifacts_of(study, trial, here).keys() == {MATRIX, TABLE}
    note = note_of(study, trial)
    assert f"**Diverged**: {reason}." in note
    assert "best at epoch" not in note


@pytest.mark.parametrize(
    "failure",
    ["RuntimeError: <img src=x>", "ValueError: a `b` ``` c", "E: ````` https://a.b | *c*\nd"],
)
def test_an_error_is_a_block_of_code(failure: str, study: optuna.Study, here: Path) -> None:
    trial = running(study)
    show(study, trial, here / "no such folder", failure)
    lines = note_of(study, trial).splitlines()
    assert lines[0] == "**Failed**"
    fence = lines[2]
    assert set(fence) == {"`"} and fence not in failure
    assert "\n".join(lines[3 : lines.index(fence, 3)]) == failure


def test_text_that_people_wrote_is_kept(study: optuna.Study, attempt: Path, here: Path) -> None:
    trial = running(study)
    storage, theirs = study._storage, "mine: *look at this one*"
    save_note_with_version(storage, study._study_id, trial._trial_id, 1, theirs)
    for _ in range(2):
        show(study, trial, attempt)
        assert note_of(study, trial).partition(MARK)[2].strip() == theirs
        assert note_of(study, trial).count("**Finished**") == 1
    show_study(study, here, ["goal  maximize f1"])
    save_note_with_version(storage, study._study_id, None, 2, f"{get_note(study)}{theirs}")
    show_study(study, here, ["goal  maximize f1", "study  mine: 20 trials"])
    assert "mine: 20 trials" in get_note(study)
    assert get_note(study).partition(MARK)[2].strip() == theirs


def test_the_studys_note_has_its_task_its_columns_and_its_files(
    study: optuna.Study, attempt: Path, here: Path
) -> None:
    task = ["goal   maximize validation/f1", "data   `x`: 6 rows"]
    show_study(study, here / "studies" / "mine", task)
    note = get_note(study)
    assert "\n".join(task) in note
    assert str(here / "studies" / "mine") in note
    for name in COLUMNS:
        assert f"`{name}`: " in note
    for name in ("trials.csv", "study.db", "config.yaml"):
        assert f"`{name}`: " in note


def test_late_trials_have_artifacts_but_no_note(
    study: optuna.Study, attempt: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_NOTES > 100
    monkeypatch.setattr("search.report.dashboard.page.MAX_NOTES", 1)
    first, second = running(study), running(study)
    show(study, first, attempt)
    show(study, second, write_attempt(here, 1))
    assert note_of(study, first) != "" == note_of(study, second)
    assert artifacts_of(study, second, here).keys() == {CURVE, MATRIX, TABLE}
