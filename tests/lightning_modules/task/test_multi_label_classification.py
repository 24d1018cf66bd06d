from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain, combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    f1_score,
    log_loss,
    matthews_corrcoef,
    precision_recall_fscore_support,
)

from lightning_modules.error import ConfigError, DataError
from lightning_modules.export.model import load_exported
from lightning_modules.fit import fit
from lightning_modules.logger.base import Identity
from lightning_modules.rows import cell
from lightning_modules.rows.corpus import Corpus
from lightning_modules.run import Run
from lightning_modules.task.base import Examples
from lightning_modules.task.metric.calibration import TEMPERATURES
from lightning_modules.task.multi_label_classification import MultiLabelClassification
from search.config import build_run, compose
from search.trained.export import Trained, export
from tests.conftest import write_jsonl


def make_task(**changes: Any) -> MultiLabelClassification:
    values: dict[str, Any] = {"text": "text", "text_pair": None, "label": "labels"}
    values |= {
        "metric": "micro_f1",
        "metric_direction": None,
        "threshold": 0.5,
        "separator": None,
        "label_columns": None,
    }
    return MultiLabelClassification(**{**values, **changes})


TASK = make_task()
NONE: Any = Examples((), (), None)  # type: ignore[arg-type]
NAMES = ("art", "money", "sport")


def rows_of(*labels: Sequence[str]) -> list[dict[str, Any]]:
    return [{"text": f"text {n}", "label": list(each)} for n, each in enumerate(labels)]


def random_observations(seed: int, num_rows: int, num_labels: int) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {
        "logits_BC": 2 * torch.randn(num_rows, num_labels, generator=rng),
        "labels_BC": torch.rand(num_rows, num_labels, generator=rng) < 0.3,
    }


def reference(observed: dict[str, torch.Tensor], threshold: float = 0.5) -> dict[str, float]:
    probabilities = observed["logits_BC"].double().sigmoid().numpy()
    truth, predicted = observed["labels_BC"].numpy(), probabilities >= threshold

    def loss(temperature: float) -> float:
        scaled = (observed["logits_BC"].double() / temperature).sigmoid().numpy()
        return float(log_loss(truth.ravel(), scaled.ravel(), labels=[False, True]))

    inside = minimize_scalar(loss, bounds=TEMPERATURES, method="bounded").fun
    calibrated = min(inside, *map(loss, TEMPERATURES))
    return {
        "micro_f1": f1_score(truth, predicted, average="micro", zero_division=0),
        "macro_f1": f1_score(truth, predicted, average="macro", zero_division=0),
        "accuracy": accuracy_score(truth, predicted),
        "mcc": matthews_corrcoef(truth.ravel(), predicted.ravel()),
        "log_loss": log_loss(truth.ravel(), probabilities.ravel(), labels=[False, True]),
        "calibrated_log_loss": calibrated,
        "brier": brier_score_loss(truth.ravel(), probabilities.ravel()),
    }


@pytest.mark.parametrize("num_labels", [2, 3, 7])
@pytest.mark.parametrize("threshold", [0.5, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_the_metrics_equal_those_of_scikit_learn(
    num_labels: int, threshold: float, seed: int
) -> None:
    observed = random_observations(seed, 200, num_labels)
    scores = make_task(threshold=threshold).score(observed, NONE)
    assert scores == pytest.approx(reference(observed, threshold), abs=1e-6)
    assert set(scores) == set(TASK.directions)


@pytest.mark.parametrize("truth", [False, True])
@pytest.mark.parametrize("sign", [-1, 1])
def test_constant_labels_and_predictions_score_like_scikit_learn(truth: bool, sign: int) -> None:
    observed = {"logits_BC": sign * torch.ones(5, 2), "labels_BC": torch.full((5, 2), truth)}
    scores = TASK.score(observed, NONE)
    expected = reference(observed)
    if truth == (sign > 0):  # scikit-learn: the mcc of a correct single class is 1
        expected["mcc"] = 0.0
    assert scores == pytest.approx(expected, abs=1e-6)


def test_the_summed_loss_divided_by_num_targets_is_the_log_loss() -> None:
    observed = random_observations(0, 9, 3)
    batch = {"labels": observed["labels_BC"].long()}
    output = SimpleNamespace(logits=observed["logits_BC"])
    mean = TASK.loss_sum(output, batch) / TASK.num_targets(batch)
    assert mean.item() == pytest.approx(reference(observed)["log_loss"], abs=1e-6)


def test_observing_keeps_the_labels_if_there_are_any() -> None:
    output = SimpleNamespace(logits=torch.randn(2, 3, requires_grad=True))
    assert set(TASK.observe(None, output, {})) == {"logits_BC"}
    observed = TASK.observe(None, output, {"labels": torch.tensor([[0, 1, 0], [1, 1, 1]])})
    assert observed["labels_BC"].tolist() == [[False, True, False], [True] * 3]
    assert not observed["logits_BC"].requires_grad


def test_decoding_returns_the_labels_above_the_threshold_and_all_probabilities() -> None:
    observed = {"logits_BC": torch.tensor([[0.0, 3.0, -1.0], [-5.0, -5.0, -5.0]])}
    one, none = TASK.decode(observed, Examples((), NAMES, NONE))
    assert one["prediction"] == ["art", "money"] and none["prediction"] == []
    scores = {"art": 0.5, "money": 0.952574, "sport": 0.268941}
    assert one["scores"] == pytest.approx(scores, abs=1e-6)
    strict = make_task(threshold=0.96).decode(observed, Examples((), NAMES, NONE))
    assert strict[0]["prediction"] == []


@pytest.mark.parametrize("seed", range(3))
def test_tables_contain_each_label_and_the_worst_rows(seed: int) -> None:
    observed = random_observations(seed, 300, 3)
    truth_BC, predicted_BC = observed["labels_BC"], observed["logits_BC"] >= 0
    labels = [[name for name, has in zip(NAMES, row, strict=True) if has] for row in truth_BC]
    tables = TASK.tables(observed, Examples(rows_of(*labels), NAMES, NONE))
    assert json.loads(json.dumps(tables)) == tables
    reference_3C = precision_recall_fscore_support(truth_BC, predicted_BC, zero_division=0)
    for number, record in enumerate(tables["per_label"]):
        assert record["label"] == NAMES[number]
        found = [record[key] for key in ("precision", "recall", "f1", "support")]
        assert found == pytest.approx([each[number] for each in reference_3C], abs=1e-6)
        assert record["predicted"] == int(predicted_BC[:, number].sum())
    mistakes = tables["mistakes"]
    wrong = [len((each["missed"] + each["spurious"]).split(",")) for each in mistakes]
    assert len(mistakes) == 100 and TASK.constant_prediction(tables) is None
    sizes = [
        sum(len(each[key].split(", ")) for key in ("missed", "spurious") if each[key])
        for each in mistakes
    ]
    assert sizes == sorted(sizes, reverse=True) and min(wrong) >= 1
    first = mistakes[0]
    row = int(first["text"].split()[1])
    assert first["label"] == ", ".join(labels[row])
    assert (truth_BC[row] != predicted_BC[row]).sum() == max(
        (truth_BC != predicted_BC).sum(dim=1).tolist()
    )


def test_correct_rows_are_not_mistakes_and_empty_predictions_are_reported() -> None:
    observed = {"logits_BC": -torch.ones(2, 3), "labels_BC": torch.zeros(2, 3).bool()}
    tables = TASK.tables(observed, Examples(rows_of([], []), NAMES, NONE))
    assert tables["mistakes"] == []
    assert TASK.constant_prediction(tables) == "predicts no label for any row"


LABELLED = rows_of(["art"], ["art", "sport"], [], ["money", "sport"], ["sport"], ["sport"])


@pytest.mark.parametrize("metric", ["micro_f1", "macro_f1", "mcc", "accuracy"])
def test_the_baseline_is_the_best_constant_set_of_labels(metric: str) -> None:
    task = make_task(metric=metric)
    truth_BC = torch.tensor([[name in row["label"] for name in NAMES] for row in LABELLED])
    sets = chain.from_iterable(combinations(range(3), size) for size in range(4))
    found = []
    for chosen in sets:
        logits_C = torch.full((3,), -1.0)
        logits_C[list(chosen)] = 1.0
        observed = {"logits_BC": logits_C.expand(6, 3), "labels_BC": truth_BC}
        found.append(reference(observed)[metric])
    baseline = task.baseline(LABELLED)
    assert baseline.score == pytest.approx(max(found))
    assert baseline.guess.startswith("always [")
    assert task.beats(baseline.score + 0.01, baseline)


def test_the_baseline_of_proper_scores_predicts_the_label_shares() -> None:
    truth = np.array([[name in row["label"] for name in NAMES] for row in LABELLED])
    shares = np.broadcast_to(truth.mean(axis=0), truth.shape)
    baseline = make_task(metric="log_loss").baseline(LABELLED)
    assert baseline.score == pytest.approx(log_loss(truth.ravel(), shares.ravel()))
    assert make_task(metric="log_loss").baseline(rows_of([], [])).score == 0
    baseline = make_task(metric="brier").baseline(LABELLED)
    assert baseline.score == pytest.approx(brier_score_loss(truth.ravel(), shares.ravel()))


def test_labels_come_from_the_training_rows_in_order() -> None:
    corpus = Corpus({"train": rows_of(["b", "10"], [], ["9"]), "validation": rows_of(["b"])})
    assert TASK.labels(corpus) == ("9", "10", "b")


def test_unknown_and_missing_labels_are_refused() -> None:
    corpus = Corpus({"train": rows_of(["sport"], []), "validation": rows_of(["sports"])})
    with pytest.raises(DataError) as raised:
        TASK.labels(corpus)
    assert str(raised.value) == (
        "data.label: every label of validation must be in the training rows, got 'sports'. "
        "Did you mean sport?"
    )
    with pytest.raises(DataError, match="must have labels, got only empty lists"):
        TASK.labels(Corpus({"train": rows_of([], [])}))
    with pytest.raises(DataError, match="must hold labels that repeat"):
        TASK.labels(Corpus({"train": rows_of(*([f"id {n}"] for n in range(30)))}))
    with pytest.raises(DataError, match="the model's labels art, money, sport"):
        TASK.check_known(rows_of(["sports"]), NAMES)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0])
def test_a_threshold_outside_its_range_is_refused(threshold: float) -> None:
    with pytest.raises(ConfigError, match="threshold: must be > 0 and < 1"):
        make_task(threshold=threshold)


@pytest.mark.parametrize("given", ["sport", "", None, 4, ["a", None], {"a": 1}, [["a"]]])
def test_a_cell_that_is_not_a_list_of_labels_is_refused(given: Any) -> None:
    refused = cell.labels(given)
    assert isinstance(refused, cell.Refused) and refused.rule == "must be a list of labels"


@pytest.fixture
def made_run(here: Path) -> Run:
    words = {"art": "museum", "money": "train", "sport": "bicycle"}
    rows = []
    for number in range(160):
        labels = [name for bit, name in enumerate(words) if number >> bit & 1]
        text = " and ".join(["hotel", *(words[name] for name in labels)])
        rows.append({"text": text, "text_pair": f"the {number}", "labels": labels})
    path = write_jsonl(here / "tags.jsonl", rows)
    words_of_run = ("model=tiny", "logger=none", "strategy=full", "strategy.lr=3e-3")
    return build_run(
        compose(
            "train",
            [
                *words_of_run,
                "task=multi_label_classification",
                "data=files",
                f"data.train={path}",
                "data.text_pair=text_pair",
                "trainer.epochs=15",
                "trainer.validations_per_epoch=1",
            ],
        ).tree
    )


@pytest.mark.thorough
def test_training_learns_and_the_export_predicts_the_same(made_run: Run, here: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    outcome = fit(made_run, here / "run", Identity("x", None, here))
    assert outcome.best is not None and outcome.best.metrics["log_loss"] < 0.4  # 0.69 is chance
    result = Trained(made_run, here / "run", "run x", outcome.best.metrics, "")
    export(result, here / "best")
    rows = [{"text": "hotel and bicycle", "text_pair": "the 3"}, {"text": "a", "text_pair": "b"}]
    ours = result.load().predict(rows)
    assert load_exported(here / "best", made_run.task).predict(rows) == ours
    network = AutoModelForSequenceClassification.from_pretrained(here / "best")
    assert network.config.problem_type == "multi_label_classification"
    assert "p >= 0.5" in (here / "best/README.md").read_text(encoding="utf-8")


def test_the_card_of_an_exported_head_prints_every_label_above_the_threshold() -> None:
    given = {"logits": torch.tensor([2.0, -1.0, -0.1]), "labels": NAMES, "zip": zip}
    for threshold, expected in ((0.4, ["art", "sport"]), (0.6, ["art"]), (0.9, [])):
        assert eval(make_task(threshold=threshold).usage_of_logits(), given) == expected
