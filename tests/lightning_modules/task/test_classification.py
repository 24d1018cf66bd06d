from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    f1_score,
    log_loss,
    matthews_corrcoef,
    roc_auc_score,
)
from sklearn.utils.class_weight import compute_class_weight

from lightning_modules.error import ConfigError, DataError
from lightning_modules.model.kind import Kind
from lightning_modules.model.tiny import Tiny
from lightning_modules.rows.corpus import Corpus
from lightning_modules.task.base import Examples
from lightning_modules.task.metric.calibration import TEMPERATURES
from lightning_modules.task.verdict import unlearnt
from tests.conftest import classification

TASK = classification()
NONE: Any = Examples((), (), None)  # type: ignore[arg-type]


def corpus(train: Sequence[str], **others: Sequence[str]) -> Corpus:
    splits = {"train": train, **others}
    return Corpus(
        {
            split: [{"text": f"{split} {n}", "label": label} for n, label in enumerate(labels)]
            for split, labels in splits.items()
        }
    )


def refused(train: Sequence[str], **others: Sequence[str]) -> list[str]:
    with pytest.raises(DataError) as raised:
        TASK.labels(corpus(train, **others))
    return str(raised.value).splitlines()


def reference(logits_BC: torch.Tensor, labels_B: torch.Tensor) -> dict[str, float]:
    labels, predicted = labels_B.tolist(), logits_BC.argmax(1).tolist()
    probabilities_BC = logits_BC.double().softmax(1).numpy()

    def loss(temperature: float) -> float:
        scaled_BC = (logits_BC.double() / temperature).softmax(1).numpy()
        return float(log_loss(labels, scaled_BC, labels=range(logits_BC.shape[1])))

    calibrated = minimize_scalar(loss, bounds=TEMPERATURES, method="bounded").fun
    return {
        "accuracy": accuracy_score(labels, predicted),
        "macro_f1": f1_score(labels, predicted, average="macro"),
        "mcc": matthews_corrcoef(labels, predicted),
        "log_loss": log_loss(labels, probabilities_BC, labels=range(logits_BC.shape[1])),
        "calibrated_log_loss": calibrated,
        "brier": float(
            ((probabilities_BC - np.eye(logits_BC.shape[1])[labels]) ** 2).sum(1).mean()
        ),
    }


@pytest.mark.parametrize("num_classes", [2, 3, 7])
@pytest.mark.parametrize("seed", range(3))
def test_the_metrics_equal_those_of_scikit_learn(num_classes: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    logits_BC = 2 * torch.randn(300, num_classes, generator=rng)
    labels_B = torch.randint(num_classes, (300,), generator=rng)
    scores = TASK.score({"logits_BC": logits_BC, "labels_B": labels_B}, NONE)
    assert scores == pytest.approx(reference(logits_BC, labels_B), abs=2e-6)


def test_a_class_that_is_never_true_nor_predicted_does_not_count() -> None:
    logits_BC = torch.tensor([[2.0, 0, -9], [0, 2, -9], [2, 0, -9], [0, 2, -9]])
    labels_B = torch.tensor([0, 1, 1, 1])
    scores = TASK.score({"logits_BC": logits_BC, "labels_B": labels_B}, NONE)
    assert scores == pytest.approx(reference(logits_BC, labels_B), abs=1e-6)


def test_a_constant_guess_scores_at_chance_level() -> None:
    logits_BC = torch.tensor([[1.0, 0.0]]).repeat(10, 1)
    labels_B = torch.tensor([0] * 6 + [1] * 4)
    scores = TASK.score({"logits_BC": logits_BC, "labels_B": labels_B}, NONE)
    assert scores["mcc"] == reference(logits_BC, labels_B)["mcc"] == 0


def test_perfect_predictions_get_perfect_scores() -> None:
    logits_BC, labels_B = 20 * torch.eye(4), torch.arange(4)
    scores = TASK.score({"logits_BC": logits_BC, "labels_B": labels_B}, NONE)
    assert scores == {
        "accuracy": 1,
        "macro_f1": 1,
        "mcc": 1,
        "log_loss": 0,
        "calibrated_log_loss": 0,
        "brier": 0,
    }


def test_every_declared_metric_is_scored() -> None:
    scores = TASK.score({"logits_BC": torch.eye(2), "labels_B": torch.tensor([0, 1])}, NONE)
    assert set(scores) == set(TASK.directions)


@pytest.mark.parametrize(
    ("metric", "value", "than", "better"),
    [
        ("accuracy", 0.8, 0.7, True),
        ("accuracy", 0.7, 0.7, False),
        ("mcc", 0.1, 0.2, False),
        ("log_loss", 0.1, 0.2, True),
        ("log_loss", 0.2, 0.1, False),
    ],
)
def test_better_depends_on_the_direction_of_the_metric(
    metric: str, value: float, than: float, better: bool
) -> None:
    assert classification(metric).better(value, than) is better


def test_an_unknown_metric_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError) as raised:
        classification("acuracy")
    assert str(raised.value) == (
        "metric: must be one of accuracy, macro_f1, mcc, log_loss, calibrated_log_loss, brier, "
        "got 'acuracy'. Did you mean accuracy?"
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["spam", "ham", "eggs"], ("eggs", "ham", "spam")),
        (["10", "9", "-1", "2.5"], ("-1", "2.5", "9", "10")),
        (["unknown", "2", "10"], ("2", "10", "unknown")),
    ],
)
def test_labels_are_sorted_by_number_then_by_alphabet(
    given: list[str], expected: tuple[str, ...]
) -> None:
    assert TASK.labels(corpus(given * 2)) == expected
    assert TASK.labels(corpus(given[::-1] * 2)) == expected


def test_the_order_of_rows_does_not_change_the_place_of_the_label_nan() -> None:
    orders = (["nan", "1", "0"], ["1", "nan", "0"], ["1", "0", "nan"])
    assert len({TASK.labels(corpus(order)) for order in orders}) == 1


def test_a_single_label_is_refused() -> None:
    assert refused(["yes"] * 10) == [
        "data.label: the training rows must have at least two labels, got only 'yes'. "
        "Set data.label to the column with the classes."
    ]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_label_missing_from_train_is_refused(split: str) -> None:
    assert refused(["positive", "negative"] * 5, **{split: ["positive", "postive"]}) == [
        f"data.label: every label of {split} must be in the training rows, got 'postive'. "
        "Did you mean positive?"
    ]


def test_a_label_only_in_train_is_accepted() -> None:
    labels = TASK.labels(corpus(["a", "b", "c"] * 5, validation=["a", "b"]))
    assert labels == ("a", "b", "c")


def test_a_label_column_that_never_repeats_is_refused() -> None:
    assert refused([f"id-{number}" for number in range(100)]) == [
        "data.label: must hold labels that repeat, got 100 different labels in the 100 training "
        "rows. Set data.label to the column with the classes."
    ]


def test_many_labels_that_repeat_are_accepted() -> None:
    assert len(TASK.labels(corpus([str(number % 50) for number in range(100)]))) == 50


def test_all_problems_are_reported_at_once() -> None:
    assert len(refused(["yes"] * 10, validation=["no"], test=["perhaps"])) == 3


def test_the_summed_loss_divided_by_num_targets_is_the_log_loss() -> None:
    rng = torch.Generator().manual_seed(0)
    logits_BC, labels_B = torch.randn(9, 3, generator=rng), torch.arange(9) % 3
    output, batch = SimpleNamespace(logits=logits_BC), {"labels": labels_B}
    mean = TASK.loss_sum(output, batch) / TASK.num_targets(batch)
    assert mean.item() == pytest.approx(log_loss(labels_B, logits_BC.softmax(1)), abs=1e-6)


def test_a_half_precision_loss_is_summed_in_float32() -> None:
    output = SimpleNamespace(logits=torch.zeros(1000, 2, dtype=torch.bfloat16))
    batch = {"labels": torch.zeros(1000, dtype=torch.long)}
    assert TASK.loss_sum(output, batch).item() == pytest.approx(1000 * 0.693147, rel=1e-5)


def test_observing_rows_without_labels_keeps_only_the_logits() -> None:
    logits_BC = torch.randn(2, 3, requires_grad=True)
    observed = TASK.observe(None, SimpleNamespace(logits=logits_BC), {})
    assert set(observed) == {"logits_BC"}
    assert not observed["logits_BC"].requires_grad


def test_decoding_returns_the_most_likely_label_and_all_probabilities() -> None:
    decoded = TASK.decode(
        {"logits_BC": torch.tensor([[0.0, 3.0], [1.0, -1.0]])}, Examples((), ("no", "yes"), None)
    )
    assert [each["prediction"] for each in decoded] == ["yes", "no"]
    assert decoded[0]["scores"] == pytest.approx({"no": 0.047426, "yes": 0.952574}, abs=1e-6)


def tables_of(
    logits_BC: torch.Tensor, labels_B: torch.Tensor, names: Sequence[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    rows = [{"text": f"row {n}", "label": names[label]} for n, label in enumerate(labels_B)]
    tables = TASK.tables(
        {"logits_BC": logits_BC, "labels_B": labels_B}, Examples(rows, names, None)
    )
    assert json.loads(json.dumps(tables)) == tables  # plain values
    mistakes, confusion = tables["mistakes"], tables["confusion"]
    assert set(tables) == {"mistakes", "confusion"}
    return [dict(each) for each in mistakes], [dict(each) for each in confusion]


def test_mistakes_are_sorted_by_confidence() -> None:
    logits_BC = torch.tensor([[0.0, 1], [0, 5], [3, 0], [0, 20], [0, 30], [2, 0]])
    labels_B = torch.tensor([0, 0, 0, 0, 0, 1])
    mistakes, _ = tables_of(logits_BC, labels_B, ["no", "yes"])
    # Rows 3 and 4 both have probability 1 in float32.
    assert [each["text"] for each in mistakes] == ["row 4", "row 3", "row 1", "row 5", "row 0"]
    assert mistakes[3] == {
        "text": "row 5",
        "label": "yes",
        "prediction": "no",
        "probability": pytest.approx(0.880797),
        "label_probability": pytest.approx(0.119203),
    }


def test_at_most_100_mistakes_are_kept() -> None:
    rng = torch.Generator().manual_seed(0)
    logits_BC = torch.randn(1000, 2, generator=rng)
    mistakes, confusion = tables_of(logits_BC, 1 - logits_BC.argmax(dim=1), ["a", "b"])
    assert len(mistakes) == 100
    assert mistakes[0]["probability"] == pytest.approx(logits_BC.softmax(1).max().item(), abs=1e-6)
    assert sum(each["predicted a"] + each["predicted b"] for each in confusion) == 1000


def test_no_mistakes_give_an_empty_table() -> None:
    mistakes, confusion = tables_of(torch.eye(2), torch.tensor([0, 1]), ["a", "b"])
    assert mistakes == []
    assert confusion == [
        {"label": "a", "predicted a": 1, "predicted b": 0},
        {"label": "b", "predicted a": 0, "predicted b": 1},
    ]


@pytest.mark.parametrize(("num_labels", "shown"), [(200, True), (201, False)])
def test_a_confusion_table_with_too_many_labels_is_left_out(num_labels: int, shown: bool) -> None:
    names = [str(number) for number in range(num_labels)]
    observed = {"logits_BC": torch.zeros(1, num_labels), "labels_B": torch.tensor([1])}
    tables = TASK.tables(observed, Examples([{"text": "one", "label": "1"}], names, None))
    assert len(tables["mistakes"]) == 1
    assert ("confusion" in tables) is shown


@pytest.mark.parametrize("seed", range(3))
def test_the_confusion_matrix_equals_that_of_scikit_learn(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    names = ["label", "text", "c", "d"]  # the first two are also columns
    logits_BC = torch.randn(200, 4, generator=rng)
    labels_B = torch.randint(3, (200,), generator=rng)  # no row has the last label
    mistakes, confusion = tables_of(logits_BC, labels_B, names)
    predicted_B = logits_BC.argmax(dim=1)
    counts = confusion_matrix(labels_B, predicted_B, labels=range(4)).tolist()
    assert [each["label"] for each in confusion] == names
    assert [[each[f"predicted {name}"] for name in names] for each in confusion] == counts
    assert len(mistakes) == min(100, int((labels_B != predicted_B).sum()))


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "mcc"])
@pytest.mark.parametrize("labels", ["aab", "aaabbc", "abbbb", "abc"])
def test_the_baseline_is_the_score_of_the_most_frequent_label(metric: str, labels: str) -> None:
    task = classification(metric)
    names = task.labels(corpus(labels))
    found = task.baseline(corpus(labels).splits["train"])
    largest = max(names, key=labels.count)
    logits_BC = torch.zeros(len(labels), len(names))
    logits_BC[:, names.index(largest)] = 1.0
    labels_B = torch.tensor([names.index(label) for label in labels])
    scores = task.score({"logits_BC": logits_BC, "labels_B": labels_B}, NONE)
    assert found.guess == f"always {largest!r}"
    assert found.score == pytest.approx(scores[metric], abs=1e-6)
    assert not task.beats(scores[metric], found)
    assert task.beats(scores[metric] + 0.01, found)


def test_the_baseline_of_log_loss_predicts_the_label_shares() -> None:
    task = classification("log_loss")
    found = task.baseline(corpus("aab").splits["train"])
    shares_BC = [[2 / 3, 1 / 3]] * 3
    assert found.guess == "guessing by the labels' shares"
    assert found.score == pytest.approx(log_loss([0, 0, 1], shares_BC))
    assert task.beats(found.score - 0.01, found)
    assert not task.beats(found.score + 0.01, found)


def test_the_baseline_of_the_brier_score_predicts_the_label_shares() -> None:
    found = classification("brier").baseline(corpus("aab").splits["train"])
    distance_BC = np.array([[2 / 3, 1 / 3]] * 3) - np.array([[1, 0], [1, 0], [0, 1]])
    assert found.score == pytest.approx((distance_BC**2).sum(axis=1).mean())


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "calibrated_log_loss", "brier"])
def test_the_values_of_the_rows_have_the_score_as_their_mean(metric: str) -> None:
    rng = torch.Generator().manual_seed(0)
    labels_B = torch.randint(3, (50,), generator=rng)
    observed = {"logits_BC": torch.randn(50, 3, generator=rng), "labels_B": labels_B}
    values = classification(metric).row_values(observed, NONE)
    assert values is not None
    assert TASK.score(observed, NONE)[metric] == pytest.approx(np.mean(values), abs=1e-6)


@pytest.mark.parametrize(("predicted", "is_constant"), [([0, 0, 0], True), ([0, 1, 0], False)])
def test_constant_predictions_are_reported(predicted: list[int], is_constant: bool) -> None:
    observed = {"logits_BC": torch.eye(2)[predicted], "labels_B": torch.tensor([0, 0, 1])}
    rows = [{"text": f"row {n}", "label": "ab"[n // 2]} for n in range(3)]
    sentence = TASK.constant_prediction(TASK.tables(observed, Examples(rows, ["a", "b"], None)))
    assert sentence == ("predicts 'a' for every row" if is_constant else None)


def test_without_a_confusion_table_constant_predictions_are_not_reported() -> None:
    assert TASK.constant_prediction({"mistakes": []}) is None


def fitted(labels: str, **changes: Any) -> Any:
    rows = corpus(labels)
    task = classification(**changes)
    return task.fit_to_rows(rows, task.labels(rows))


@pytest.mark.parametrize("weights", [None, "balanced", {"a": 0.5, "c": 4}])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_the_loss_equals_the_weighted_mean_of_torch(weights: Any, label_smoothing: float) -> None:
    rng = torch.Generator().manual_seed(0)
    task = fitted("aaaabbc", class_weights=weights, label_smoothing=label_smoothing)
    logits_BC = torch.randn(20, 3, generator=rng)
    labels_B = torch.randint(3, (20,), generator=rng)
    weight_C = torch.tensor([0.5, 1, 4]) if weights else torch.ones(3)
    if weights == "balanced":
        balanced = compute_class_weight("balanced", classes=np.array([*"abc"]), y=[*"aaaabbc"])
        weight_C = torch.tensor(balanced, dtype=torch.float32)
    expected = torch.nn.functional.cross_entropy(
        logits_BC, labels_B, weight_C, label_smoothing=label_smoothing
    )
    batch = {"labels": labels_B}
    mean = task.loss_sum(SimpleNamespace(logits=logits_BC), batch) / task.num_targets(batch)
    assert mean.item() == pytest.approx(expected.item(), rel=1e-5)


def test_weights_are_in_class_number_order() -> None:
    rows = corpus(["9", "10", "11"] * 2)
    task = classification(class_weights={10: 3, "9": 2.0})
    weights = task.fit_to_rows(rows, task.labels(rows)).class_weights
    assert list(weights.items()) == [("9", 2.0), ("10", 3.0), ("11", 1.0)]


def test_metrics_stay_unweighted() -> None:
    observed = {"logits_BC": torch.randn(9, 2), "labels_B": torch.arange(9) % 2}
    weighted = fitted("aaab", class_weights="balanced", label_smoothing=0.2)
    assert weighted.score(observed, NONE) == TASK.score(observed, NONE)


def test_a_weight_for_an_unknown_label_is_refused() -> None:
    with pytest.raises(DataError) as raised:
        fitted("aabb", class_weights={"a": 1.0, "B": 2.0})
    assert str(raised.value) == (
        "task.class_weights: must name labels of the training rows, got 'B'. Did you mean b?"
    )


@pytest.mark.parametrize(
    ("weights", "where"),
    [
        ("balance", "class_weights: must be a mapping"),
        ({}, "class_weights: must be a mapping"),
        ({"a": 0}, "class_weights.a: must be a number > 0"),
        ({"a": "much"}, "class_weights.a: must be a number > 0"),
        ({"a": float("inf")}, "class_weights.a: must be a number > 0"),
    ],
)
def test_invalid_weights_are_refused(weights: Any, where: str) -> None:
    with pytest.raises(ConfigError, match=where):
        classification(class_weights=weights)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_label_smoothing_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="label_smoothing: must be >= 0 and < 1"):
        classification(label_smoothing=share)


def test_loss_settings_do_not_change_the_cache_key() -> None:
    weighted = fitted("aab", class_weights="balanced", label_smoothing=0.1)
    assert weighted.cache_key == classification("mcc").cache_key
    assert weighted.cache_key != classification(label="stars").cache_key
    assert hash(weighted) != hash(TASK)


def test_a_pair_of_texts_is_one_example_with_two_segments() -> None:
    tokenizer = Tiny(kind=Kind.encoder, width=8, num_layers=1, num_heads=1).load_tokenizer()
    rows = [{"text": "a good hotel", "text_pair": "the hotel", "label": "yes"}]
    columns = TASK.encode(rows, tokenizer, 16, ("no", "yes"))
    expected = tokenizer("a good hotel", "the hotel")
    assert columns["input_ids"] == [expected["input_ids"]]
    assert columns["input_ids"][0].count(tokenizer.sep_token_id) == 2
    assert columns["labels"] == [1]
    (cut,) = TASK.encode(rows, tokenizer, 6, ("no", "yes"))["input_ids"]
    assert len(cut) == 6 and cut.count(tokenizer.sep_token_id) == 2


def test_pairs_are_duplicates_if_both_texts_are() -> None:
    one, same = {"text": "A b", "text_pair": "c"}, {"text": "a B", "text_pair": "C"}
    assert TASK.identity(one) == TASK.identity(same)
    assert TASK.identity(one) != TASK.identity({**one, "text_pair": "d"})


EXAMPLES = Examples(
    [{"text": "t", "label": "no"}] * 6 + [{"text": "t", "label": "yes"}] * 4, (), None
)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("metric", "scores", "verdict"),
    [
        (
            "accuracy",
            {"accuracy": 0.6, "log_loss": 0.68},
            "has not learnt: its accuracy of 0.6 is that of always 'no'",
        ),
        (
            "accuracy",
            {"accuracy": 0.4, "log_loss": 0.9},
            "has not learnt: its accuracy of 0.4 is no better than the 0.6 of always 'no'",
        ),
        (
            "mcc",
            {"mcc": 0.0, "log_loss": 0.7},
            "has not learnt: its mcc of 0 is that of always 'no'",
        ),
        (
            "log_loss",
            {"log_loss": 0.7},
            "has not learnt: its log_loss of 0.7 is no better than the 0.673 of guessing by the "
            "labels' shares",
        ),
        (
            "accuracy",
            {"accuracy": 0.6, "log_loss": 0.5},
            "has learnt too little to change its answers: its accuracy of 0.6 is that of always "
            "'no', although its log_loss of 0.5 is below the 0.673 of guessing by the labels' "
            "shares; try more epochs or a higher learning rate",
        ),
        ("accuracy", {"accuracy": 0.7, "log_loss": 0.9}, None),
        ("log_loss", {"log_loss": 0.6}, None),
    ],
)
def test_scores_of_a_constant_guess_are_named(
    metric: str, scores: dict[str, float], verdict: str | None
) -> None:
    assert unlearnt(classification(metric), scores, EXAMPLES) == verdict


def test_a_named_label_has_its_metrics_among_three_labels() -> None:
    labels, task = ("ham", "spam", "1"), classification("roc_auc", positive="spam")
    rng = torch.Generator().manual_seed(0)
    logits_BC = 2 * torch.randn(200, 3, generator=rng)
    labels_B = torch.randint(3, (200,), generator=rng)
    observed = {"logits_BC": logits_BC, "labels_B": labels_B}
    rows = [{"text": str(n), "label": labels[number]} for n, number in enumerate(labels_B.tolist())]
    scores = task.score(observed, Examples(rows, labels, NONE))
    is_spam, share = (labels_B == 1).numpy(), logits_BC.double().softmax(1)[:, 1].numpy()
    assert scores["roc_auc"] == pytest.approx(roc_auc_score(is_spam, share), abs=1e-6)
    assert scores["average_precision"] == pytest.approx(
        average_precision_score(is_spam, share), abs=1e-6
    )
    assert scores["f1"] == pytest.approx(
        f1_score(is_spam, (logits_BC.argmax(1) == 1).numpy()), abs=1e-6
    )
    assert set(scores) == set(task.goals) and task.direction == "maximize"
    assert set(TASK.goals).isdisjoint({"f1", "roc_auc"})
    assert task.baseline(rows).score == 0.5


def test_probabilities_that_round_to_one_are_still_ranked() -> None:
    logits_BC = torch.tensor([[0.0, 50.0], [0.0, 60.0], [0.0, 40.0], [0.0, 45.0]])
    observed = {"logits_BC": logits_BC, "labels_B": torch.tensor([1, 1, 0, 0])}
    task = classification("roc_auc", positive="b")
    assert task.score(observed, Examples([], ("a", "b"), NONE))["roc_auc"] == 1


@pytest.mark.parametrize("metric", ["f1", "roc_auc", "average_precision", "precision_at_recall"])
def test_a_metric_of_one_label_needs_its_name(metric: str) -> None:
    with pytest.raises(ConfigError) as raised:
        classification(metric)
    assert str(raised.value) == (
        f"metric: {metric} is about one label, which task.positive must name, got "
        "task.positive=null. Set task.positive=LABEL, e.g. task.positive=spam."
    )


def test_a_label_that_no_row_has_cannot_be_the_positive_one() -> None:
    rows = corpus(["ham", "spam"] * 5)
    with pytest.raises(DataError, match=r"task.positive: must be a label of the training rows"):
        classification("f1", positive="spma").labels(rows)
    assert classification("f1", positive="spam").labels(rows) == ("ham", "spam")
    assert classification("f1", positive="1.0").labels(corpus(["0", "1"] * 5)) == ("0", "1")
    with pytest.raises(DataError, match=r"task.positive: must be one of the model's labels"):
        classification("f1", positive="x").check_known([], ("ham", "spam"))
    with pytest.raises(ConfigError, match="at_recall: must be > 0 and <= 1"):
        classification(at_recall=0.0)
