from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    precision_recall_curve,
    roc_auc_score,
)

from lightning_modules.task.metric.binary import BINARY, binary_guess, binary_scores


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("at_recall", [0.1, 0.5, 0.9, 1.0])
def test_the_metrics_equal_those_of_scikit_learn(seed: int, at_recall: float) -> None:
    rng = np.random.default_rng(seed)
    is_class = rng.random(150) < 0.2
    odds = (rng.normal(0, 1, 150) + is_class).round(1)  # with ties
    answered = odds > 0
    precision, recall, _ = precision_recall_curve(is_class, odds)
    assert binary_scores(odds, is_class, answered, at_recall) == pytest.approx(
        {
            "f1": f1_score(is_class, answered),
            "roc_auc": roc_auc_score(is_class, odds),
            "average_precision": average_precision_score(is_class, odds),
            "precision_at_recall": max(precision[recall >= at_recall]),
        }
    )


@pytest.mark.parametrize("is_class", [True, False])
def test_rows_of_one_kind_cannot_be_ranked(is_class: bool) -> None:
    flags = np.full(5, is_class)
    scores = binary_scores(np.arange(5.0), flags, ~flags, 0.9)
    assert scores.keys() == BINARY.keys()
    assert scores["roc_auc"] == 0.5 and scores["f1"] == 0
    assert scores["average_precision"] == scores["precision_at_recall"] == float(is_class)


@pytest.mark.parametrize("metric", BINARY)
def test_a_guess_that_is_the_same_for_every_row_has_what_the_formula_says(metric: str) -> None:
    is_class = np.arange(40) < 4
    scores = binary_scores(np.zeros(40), is_class, np.ones(40, dtype=bool), 0.9)
    assert scores[metric] == pytest.approx(binary_guess(metric, 0.1))
