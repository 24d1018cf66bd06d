"""The recorded runs hold together: each score is the one of the answers that are kept."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
from record import Records, load_records
from recorded.answer import quantized, restored

LEAST = -np.square(254.5 / 64)
"""Below it a kept log-probability is cut off."""


@pytest.fixture(scope="module")
def records() -> Records:
    return load_records()


def test_scores_are_those_of_the_kept_logits(records: Records) -> None:
    for (text, num_rows), validations in of_files(records, records.validations):
        labels = records.labels(text, num_rows, "validation")
        logits = np.stack(validations["logits"].to_list()).astype(float)
        right = (logits.argmax(axis=2) == labels).mean(axis=1)
        # Two logits of float16 may tie where those of float32 did not.
        assert np.abs(right - validations["accuracy"]).max() < 1.5 / len(labels)
        told = log_softmax(logits)[:, np.arange(len(labels)), labels]
        assert np.abs(-told.mean(axis=1) - validations["log_loss"]).max() < 5e-3


def test_truth_scores_are_those_of_the_kept_answers(records: Records) -> None:
    scores = records.validations[["run", "number", "truth_accuracy", "truth_log_loss"]]
    truth = records.truth.merge(scores, on=["run", "number"])
    assert len(truth) == len(records.truth) > 0
    truth["size"] = truth["log_probabilities"].map(len)
    for (text, num_rows), of_file in of_files(records, truth):
        for size, answers in of_file.groupby("size"):
            labels = records.labels(text, num_rows, "truth")[:size]
            told = np.stack(answers["log_probabilities"].to_list())
            right = (told.argmax(axis=2) == labels).mean(axis=1)
            assert np.abs(right - answers["truth_accuracy"]).max() < 1e-9
            of_label = told[:, np.arange(size), labels]
            missing = answers["truth_log_loss"].to_numpy() + of_label.mean(axis=1)
            # An answer that is surer than the least that is kept counts as that.
            is_whole = of_label.min(axis=1) > LEAST
            assert np.abs(missing[is_whole]).max() < 2e-2
            assert missing.min() > -2e-2
            assert is_whole.mean() > 0.5


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


def of_files(records: Records, table: pandas.DataFrame) -> pandas.api.typing.DataFrameGroupBy:
    """Return the records of each user's file; whole runs have the same number of rows there."""
    files = records.runs.set_index("run")[["text", "num_rows"]]
    return table.join(files, on="run").groupby(["text", "num_rows"])


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    normalized: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalized
