"""The recorded runs hold together: each score is the one of the answers that are kept."""

from __future__ import annotations

import numpy as np
import pytest
from record import Records, load_records
from recorded.answer import quantized, restored


@pytest.fixture(scope="module")
def records() -> Records:
    return load_records()


def test_scores_are_those_of_the_kept_logits(records: Records) -> None:
    runs = records.runs.set_index("run")
    for row in records.validations.itertuples():
        run = runs.loc[row.run]
        labels = records.labels(run["text"], run["num_rows"], "validation")
        logits = row.logits.astype(float)
        right = logits.argmax(axis=1) == labels
        # Two logits of float16 may tie where those of float32 did not.
        assert abs(right.mean() - row.accuracy) < 1.5 / len(labels)
        told = np.take_along_axis(log_softmax(logits), labels[:, None], axis=1)
        assert -told.mean() == pytest.approx(row.log_loss, abs=5e-3)


def test_truth_scores_are_those_of_the_kept_answers(records: Records) -> None:
    runs = records.runs.set_index("run")
    scores = records.validations.set_index(["run", "number"])
    assert len(records.truth) > 0
    for row in records.truth.itertuples():
        run, score = runs.loc[row.run], scores.loc[(row.run, row.number)]
        told = row.log_probabilities
        labels = records.labels(run["text"], run["num_rows"], "truth")[: len(told)]
        assert (told.argmax(axis=1) == labels).mean() == pytest.approx(score["truth_accuracy"])
        loss = -np.take_along_axis(told, labels[:, None], axis=1).mean()
        assert loss == pytest.approx(score["truth_log_loss"], abs=2e-2)


def test_every_run_is_whole(records: Records) -> None:
    numbers = records.validations.groupby("run")["number"]
    assert (numbers.max() == numbers.size()).all()
    finished = records.runs[records.runs["ending"] == "finished"].set_index("run")
    last = records.validations.groupby("run")["step"].max()
    assert (last[finished.index] == finished["num_steps"]).all()
    answered = records.truth.groupby("run")["number"].max()
    assert (answered[finished.index] == numbers.max()[finished.index]).all()


def test_no_row_of_the_truth_is_in_a_user_file(records: Records) -> None:
    for _, rows in records.rows.groupby(["text", "num_rows"]):
        lines = np.concatenate(rows["lines"].to_list())
        assert len(set(lines.tolist())) == len(lines)
        assert all(rows["lines"].map(len) == rows["labels"].map(len))


def test_bytes_keep_the_likeliest_class() -> None:
    told = np.log([[0.501, 0.499], [0.499, 0.501], [1 - 1e-9, 1e-9]])
    kept = restored(quantized(told))
    assert (kept.argmax(axis=1) == told.argmax(axis=1)).all()
    assert np.abs(kept[:2] - told[:2]).max() < 0.05


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    normalized: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalized
