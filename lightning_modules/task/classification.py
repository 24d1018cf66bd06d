"""Single-label classification of a text or of a pair of texts: cross-entropy over C classes.

The loss of a batch is the weighted mean sum_i w(y_i) CE_i / sum_i w(y_i), as in
torch.nn.functional.cross_entropy, with the weights from `class_weights`.
Metrics: accuracy; macro_f1, the mean of the per-class F1; mcc, Matthews' correlation
(0 is chance, 1 is perfect); log_loss, the mean negative log-probability of the label, in nats;
calibrated_log_loss, the same after the best temperature for these rows (`metric.calibration`);
brier, the mean over rows of the squared distance sum_c (p_c - [c is the label])^2, in [0, 2]
(Brier 1950).
With `positive` also f1, roc_auc, average_precision and precision_at_recall of that label against
all others (`metric.binary`).
Example row: `{"text": "Pity about the zip.", "label": "negative"}`.

Shapes: B batch, T tokens, C classes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lightning_modules.batch.type import Batch
from lightning_modules.error import DataError, Problem, Verbatim, did_you_mean
from lightning_modules.machine.transfer import to_device
from lightning_modules.rows import cell
from lightning_modules.rows.columns import cells_of
from lightning_modules.rows.corpus import Corpus, Row
from lightning_modules.schema import within
from lightning_modules.task import label
from lightning_modules.task.base import (
    MISTAKES,
    NUM_MISTAKES,
    Baseline,
    Direction,
    Examples,
    Tables,
)
from lightning_modules.task.class_weight import weight_of_each, weight_problems
from lightning_modules.task.metric.binary import BINARY, binary_guess, share_of
from lightning_modules.task.metric.calibration import LOG_LOSSES
from lightning_modules.task.metric.classes import brier, calibrated, mcc, one_class
from lightning_modules.task.metric.confusion import (
    CONFUSION,
    confusion_counts,
    confusion_records,
)
from lightning_modules.task.sequence import SequenceTask

if TYPE_CHECKING:
    from torch import Tensor

# A larger table is too big to read, and the counts for 1,000 labels would take 20 MB per run.
MAX_CONFUSED_LABELS = 200
# The rule that a column of numbers, dates or free text breaks.
LABELS_REPEAT = "must hold labels that repeat"
NAME_LABELS = "Set data.label to the column with the classes."


@dataclass(frozen=True, kw_only=True)
class Classification(SequenceTask):
    """Single-label classification.

    Attributes:
        class_weights: Weight of each label's examples in the loss, > 0. `balanced` gives a label
            that is N times rarer N times the weight (n / (C * count), as in scikit-learn). A
            mapping sets weights by label; labels that it omits get 1. None weights all labels
            equally. Metrics stay unweighted.
        label_smoothing: Share of each target that is spread evenly over all labels, in [0, 1)
            (epsilon in Szegedy et al. 2016, arXiv:1512.00567).
        positive: The label that `f1`, `roc_auc`, `average_precision` and `precision_at_recall` are
            about, against all others; None has none of them.
        at_recall: The least recall of `precision_at_recall`, in (0, 1].

    """

    class_weights: Any
    label_smoothing: float
    positive: str | None
    at_recall: float

    directions: ClassVar[Mapping[str, Direction]] = {
        "accuracy": "maximize",
        "macro_f1": "maximize",
        "mcc": "maximize",
        "log_loss": "minimize",
        "calibrated_log_loss": "minimize",
        "brier": "minimize",
    }
    loss_settings: ClassVar[frozenset[str]] = frozenset(("class_weights", "label_smoothing"))

    def __hash__(self) -> int:  # a mapping is not hashable
        return hash(repr(self))

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from within(self, 0, 1, "label_smoothing")
        yield from weight_problems(self.class_weights)
        if not 0 < self.at_recall <= 1:
            yield Problem("at_recall", "must be > 0 and <= 1", self.at_recall)

    @property
    def goals(self) -> Mapping[str, Direction]:
        return super().goals if self.positive is None else {**super().goals, **BINARY}

    def unknown_metric(self) -> Problem:
        if self.metric not in BINARY:
            return super().unknown_metric()
        rule = f"{self.metric} is about one label, which task.positive must name"
        fix = "Set task.positive=LABEL, e.g. task.positive=spam."
        return Problem("metric", rule, Verbatim("task.positive=null"), fix)

    def check_rows(self, rows: Sequence[Row], source: str) -> None:
        """Refuse a label column that holds no labels, before it stratifies the splits."""
        num_labels = len(set(cells_of(rows, "label")))
        if label.rarely_repeat(num_labels, len(rows)):
            raise DataError(self._not_labels(num_labels, len(rows), source))

    def unsplittable(self, rows: Sequence[Row], num_rows: int, split: str, source: str) -> Problem:
        num_labels = len(set(cells_of(rows, "label")))
        if 1 < num_labels == num_rows:
            return self._not_labels(num_labels, num_rows, source)
        rule = f"must have at least two different texts per label to take {split} rows from"
        got = Verbatim(f"{num_rows} rows with {num_labels} labels")
        fix = f"Set data.label to the column with the classes, add rows, or set data.{split}."
        return Problem("data.train", rule, got, fix)

    def _not_labels(self, num_labels: int, num_rows: int, source: str) -> Problem:
        got = Verbatim(f"{num_labels} different labels in the {num_rows} rows of {source}")
        return Problem("data.label", LABELS_REPEAT, got, NAME_LABELS)

    def check_known(self, rows: Sequence[Row], labels: Sequence[str]) -> None:
        label.check_known(cells_of(rows, "label"), labels)
        if self.positive is not None and self._positive not in labels:
            rule = "must be one of the model's labels"
            fix = did_you_mean(self._positive, labels)
            raise DataError(Problem("task.positive", rule, self.positive, fix))

    def stratum(self, row: Row) -> str:
        return str(row["label"])

    def notes(self, splits: Mapping[str, Sequence[Row]]) -> Iterator[str]:
        labels = chain.from_iterable(cells_of(rows, "label") for rows in splits.values())
        yield from label.conflicting(map(self.identities, splits.values()), labels)

    def labels(self, corpus: Corpus) -> tuple[str, ...]:
        """Return the labels of the training rows: numbers by value, then texts by alphabet."""
        counts = Counter(cells_of(corpus.splits["train"], "label"))
        problems = []
        if len(counts) < 2:
            (only,) = counts
            rule = "the training rows must have at least two labels"
            problems.append(Problem("data.label", rule, Verbatim(f"only {only!r}"), NAME_LABELS))
        elif label.rarely_repeat(len(counts), num_rows := len(corpus.splits["train"])):
            got = Verbatim(f"{len(counts)} different labels in the {num_rows} training rows")
            problems.append(Problem("data.label", LABELS_REPEAT, got, NAME_LABELS))
        found = {split: set(cells_of(rows, "label")) for split, rows in corpus.splits.items()}
        problems.extend(label.unseen(found, counts))
        if self.positive is not None and self._positive not in counts:
            fix = did_you_mean(str(self._positive), counts)
            rule = "must be a label of the training rows"
            problems.append(Problem("task.positive", rule, self.positive, fix))
        if problems:
            raise DataError(problems)
        return label.in_order(counts)

    @property
    def _positive(self) -> str:
        """The label that `positive` names, spelt as in the rows: 1.0 is 1."""
        return str(cell.label(self.positive))

    def fit_to_rows(self, corpus: Corpus, labels: Sequence[str]) -> Self:
        """Return the task with a weight for every label, in class-number order."""
        if self.class_weights is None:
            return self
        counts = Counter(cells_of(corpus.splits["train"], "label"))
        return replace(self, class_weights=weight_of_each(self.class_weights, counts, labels))

    def targets(self, rows: Sequence[Row], labels: Sequence[str]) -> list[int]:
        return label.numbers(rows, labels)

    def num_targets(self, batch: Batch) -> float | Tensor:
        labels_B = batch["labels"]
        weights_C = self._weights_on(labels_B.device)
        return len(labels_B) if weights_C is None else weights_C[labels_B].sum()

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        from torch.nn.functional import cross_entropy

        # In float32 even under autocast: a sum of bf16 losses rounds small differences away.
        return cross_entropy(
            output.logits.float(),
            batch["labels"],
            weight=self._weights_on(batch["labels"].device),
            label_smoothing=self.label_smoothing,
            reduction="sum",
        )

    def _weights_on(self, device: Any) -> Tensor | None:
        import torch

        if self.class_weights is None:
            return None
        assert isinstance(self.class_weights, Mapping), "call fit_to_rows before the loss"
        return to_device(torch.tensor(list(self.class_weights.values())), device)

    def observe(self, network: Any, output: Any, batch: Batch) -> dict[str, Tensor]:
        observed = {"logits_BC": output.logits.detach().float().cpu()}
        if "labels" in batch:
            observed["labels_B"] = batch["labels"].cpu()
        return observed

    def score(self, observed: Mapping[str, Tensor], examples: Examples) -> dict[str, float]:
        from torch.nn.functional import cross_entropy
        from torchmetrics.functional.classification import (
            multiclass_accuracy,
            multiclass_confusion_matrix,
            multiclass_f1_score,
        )

        logits_BC, labels_B = observed["logits_BC"], observed["labels_B"]
        num_classes = logits_BC.shape[1]
        predicted_B = logits_BC.argmax(dim=1)
        scores: dict[str, Any] = {
            "accuracy": multiclass_accuracy(predicted_B, labels_B, num_classes, average="micro"),
            "macro_f1": multiclass_f1_score(predicted_B, labels_B, num_classes, average="macro"),
            "mcc": mcc(multiclass_confusion_matrix(predicted_B, labels_B, num_classes)),
            "log_loss": cross_entropy(logits_BC.double(), labels_B),
            "calibrated_log_loss": cross_entropy(calibrated(logits_BC, labels_B), labels_B),
            "brier": brier(logits_BC, labels_B).mean(),
        }
        if self.positive is not None:
            number = examples.labels.index(self._positive)
            scores |= one_class(logits_BC, labels_B, number, self.at_recall)
        # torchmetrics returns float32, in which 0.885 prints as 0.88499999.
        return {name: round(float(value), 6) for name, value in scores.items()}

    def row_values(
        self, observed: Mapping[str, Tensor], examples: Examples
    ) -> Sequence[float] | None:
        from torch.nn.functional import cross_entropy

        logits_BC, labels_B = observed["logits_BC"], observed["labels_B"]
        values_B: Tensor
        if self.metric == "accuracy":
            values_B = (logits_BC.argmax(dim=1) == labels_B).double()
        elif self.metric == "log_loss":
            values_B = cross_entropy(logits_BC.double(), labels_B, reduction="none")
        elif self.metric == "calibrated_log_loss":
            values_B = cross_entropy(calibrated(logits_BC, labels_B), labels_B, reduction="none")
        elif self.metric == "brier":
            values_B = brier(logits_BC, labels_B)
        else:
            return None
        return list(map(float, values_B.tolist()))

    def decode(self, observed: Mapping[str, Tensor], examples: Examples) -> list[dict[str, Any]]:
        decoded, labels = [], examples.labels
        for probabilities in observed["logits_BC"].softmax(dim=1).tolist():
            scores = dict(zip(labels, (round(p, 6) for p in probabilities), strict=True))
            best = max(range(len(labels)), key=probabilities.__getitem__)
            decoded.append({"prediction": labels[best], "scores": scores})
        return decoded

    def right_answer(self, row: Row, labels: Sequence[str]) -> dict[str, Any]:
        scores = {name: float(name == row["label"]) for name in labels}
        return {"prediction": row["label"], "scores": scores}

    def tables(self, observed: Mapping[str, Tensor], examples: Examples) -> Tables:
        """Return the most confident mistakes and the confusion matrix."""
        tables = {MISTAKES: _mistakes(observed, examples.rows, examples.labels)}
        if len(examples.labels) <= MAX_CONFUSED_LABELS:
            tables[CONFUSION] = _confusion(observed, examples.labels)
        return tables

    def baseline(self, rows: Sequence[Row]) -> Baseline:
        """Return the score of the most frequent label; for losses, of the label shares."""
        if self.metric in BINARY:
            guess = "the same for every row"
            share = share_of(self._positive, [row["label"] for row in rows])
            return Baseline(guess, binary_guess(self.metric, share))
        counts = Counter(row["label"] for row in rows)
        largest = min(counts, key=lambda label: (-counts[label], label))
        share = counts[largest] / len(rows)
        shares = [count / len(rows) for count in counts.values()]
        # The least of each: the mean of -log p, and of the squared distance, of these shares.
        by_shares = {
            **dict.fromkeys(LOG_LOSSES, -sum(each * math.log(each) for each in shares)),
            "brier": 1 - sum(each**2 for each in shares),
        }
        if self.metric in by_shares:
            return Baseline("guessing by the labels' shares", by_shares[self.metric])
        # The most frequent label has precision `share` and recall 1; every other has an F1 of 0.
        macro_f1 = 2 * share / (1 + share) / len(counts)
        scores = {"accuracy": share, "macro_f1": macro_f1, "mcc": 0.0}
        return Baseline(f"always {largest!r}", scores[self.metric])

    def constant_prediction(self, tables: Tables) -> str | None:
        labels, counts = confusion_counts(tables.get(CONFUSION, ()))
        predicted = [label for label, *column in zip(labels, *counts, strict=True) if any(column)]
        return f"predicts {predicted[0]!r} for every row" if len(predicted) == 1 else None

    def usage_of_logits(self) -> str:
        return "labels[logits.argmax().item()]"

    def usage_lines(self) -> str:
        return """\
inputs = tokenizer(["Your text."], truncation=True, return_tensors="pt")
print(model.config.id2label[model(**inputs).logits.argmax().item()])
"""


def _mistakes(
    observed: Mapping[str, Tensor], rows: Sequence[Row], labels: Sequence[str]
) -> list[dict[str, Any]]:
    logits_BC, labels_B = observed["logits_BC"], observed["labels_B"]
    assert len(logits_BC) == len(rows), f"{len(logits_BC)} outputs for {len(rows)} rows"
    predicted_B = logits_BC.argmax(dim=1)
    # In float64: float32 rounds everything above 0.99999997 to 1, and ties have no order.
    probabilities_BC = logits_BC.double().softmax(dim=1)
    wrong = (predicted_B != labels_B).nonzero().flatten()
    confidence = probabilities_BC[wrong, predicted_B[wrong]]
    worst = wrong[confidence.argsort(descending=True, stable=True)][:NUM_MISTAKES]
    mistakes = []
    for row in worst.tolist():
        predicted, label = int(predicted_B[row]), int(labels_B[row])
        mistakes.append(
            {
                **rows[row],
                "prediction": labels[predicted],
                "probability": round(float(probabilities_BC[row, predicted]), 6),
                "label_probability": round(float(probabilities_BC[row, label]), 6),
            }
        )
    return mistakes


def _confusion(observed: Mapping[str, Tensor], labels: Sequence[str]) -> list[dict[str, Any]]:
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    predicted_B = observed["logits_BC"].argmax(dim=1)
    counts_CC = multiclass_confusion_matrix(predicted_B, observed["labels_B"], len(labels))
    return confusion_records(labels, counts_CC.tolist())
