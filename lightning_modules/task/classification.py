"""Single-label classification of a text or of a pair of texts: cross-entropy over C classes.

Metrics: accuracy; macro_f1, the mean of the per-class F1; mcc, Matthews' correlation
(0 is chance, 1 perfect); log_loss, the mean negative log-probability of the label, in nats.
Example row: `{"text": "Pity about the zip.", "label": "negative"}`.

Shapes: B batch, T tokens, C classes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_modules.data import cell
from lightning_modules.data.base import Corpus, Row
from lightning_modules.error import DataError, Problem, Verbatim, did_you_mean
from lightning_modules.task.base import (
    MISTAKES,
    NUM_MISTAKES,
    Baseline,
    Batch,
    Direction,
    Examples,
    Tables,
    Task,
)

if TYPE_CHECKING:
    from torch import Tensor

CONFUSION = "confusion"
# Nobody looks through more of them, and the counts of 1,000 labels would be 20 MB a run.
MAX_CONFUSED_LABELS = 200
# The rule that a column of numbers, dates or other texts breaks.
LABELS_REPEAT = "must hold labels that repeat"


@dataclass(frozen=True, kw_only=True)
class Classification(Task):
    """Single-label classification."""

    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"
    directions: ClassVar[Mapping[str, Direction]] = {
        "accuracy": "maximize",
        "macro_f1": "maximize",
        "mcc": "maximize",
        "log_loss": "minimize",
    }
    cells: ClassVar[Mapping[str, cell.Cell]] = {
        "text": cell.text,
        "text_pair": cell.text,
        "label": cell.label,
    }

    def check_rows(self, rows: Sequence[Row], source: str) -> None:
        """Refuse a label column that is no label, before rows are split by it."""
        num_labels = len({row["label"] for row in rows})
        if hardly_repeat(num_labels, len(rows)):
            raise DataError(self._no_labels(num_labels, len(rows), source))

    def unsplittable(self, rows: Sequence[Row], num_rows: int, split: str, source: str) -> Problem:
        num_labels = len({row["label"] for row in rows})
        if 1 < num_labels == num_rows:
            return self._no_labels(num_labels, num_rows, source)
        rule = f"must have at least two different texts a label to take {split} rows from"
        got = Verbatim(f"{num_rows} rows of {num_labels} labels")
        fix = f"Is data.label the right column? Else add rows, or set data.{split}."
        return Problem("data.train", rule, got, fix)

    def _no_labels(self, num_labels: int, num_rows: int, source: str) -> Problem:
        got = Verbatim(f"{num_labels} different ones in the {num_rows} rows of {source}")
        fix = "Is it the right column? Name the one with the classes."
        return Problem("data.label", LABELS_REPEAT, got, fix)

    def check_known(self, rows: Sequence[Row], labels: Sequence[str]) -> None:
        foreign = sorted({row["label"] for row in rows} - set(labels))
        if foreign:
            rule = f"the model knows {', '.join(labels)}"
            raise DataError(Problem("data.label", rule, foreign[0]))

    def stratum(self, row: Row) -> str:
        return str(row["label"])

    def notes(self, splits: Mapping[str, Sequence[Row]]) -> Iterator[str]:
        labels: dict[str, set[str]] = {}
        for rows_of_split in splits.values():
            for row in rows_of_split:
                labels.setdefault(self.identity(row), set()).add(row["label"])
        torn = sum(len(found) > 1 for found in labels.values())
        if torn:
            yield f"{torn} {'text occurs' if torn == 1 else 'texts occur'} with different labels"

    def labels(self, corpus: Corpus) -> tuple[str, ...]:
        """Return the labels of the training rows: numbers by value, else by alphabet."""
        counts = Counter(row["label"] for row in corpus.splits["train"])
        problems = []
        if len(counts) < 2:
            (only,) = counts
            rule = "the training rows must have at least two labels"
            fix = "Is it the right column? Name the one with the classes."
            problems.append(Problem("data.label", rule, Verbatim(f"only {only!r}"), fix))
        elif hardly_repeat(len(counts), num_rows := len(corpus.splits["train"])):
            got = Verbatim(f"{len(counts)} different ones in the {num_rows} training rows")
            fix = "Is it the right column? Name the one with the classes."
            problems.append(Problem("data.label", LABELS_REPEAT, got, fix))
        for split, rows in corpus.splits.items():
            foreign = sorted({row["label"] for row in rows} - set(counts))
            if foreign:
                rule = f"every label of {split} must be in the training rows"
                shown = Verbatim(", ".join(map(repr, foreign[:5])))
                more = f" and {len(foreign) - 5} more" if len(foreign) > 5 else ""
                fix = did_you_mean(foreign[0], counts) if len(counts) <= 20 else ""
                problems.append(Problem("data.label", rule, Verbatim(shown + more), fix))
        if problems:
            raise DataError(problems)
        return tuple(sorted(counts, key=_by_value))

    def encode(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        texts = [row["text"] for row in rows]
        pairs = [row["text_pair"] for row in rows] if rows and "text_pair" in rows[0] else None
        columns = dict(tokenizer(texts, pairs, truncation=True, max_length=max_length))
        if rows and "label" in rows[0]:
            number = {label: index for index, label in enumerate(labels)}
            columns["labels"] = [number[row["label"]] for row in rows]
        return columns

    def config(self, labels: Sequence[str]) -> dict[str, Any]:
        return {
            "num_labels": len(labels),
            "id2label": dict(enumerate(labels)),
            "label2id": {label: index for index, label in enumerate(labels)},
        }

    def num_targets(self, batch: Batch) -> float:
        return len(batch["labels"])

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        from torch.nn.functional import cross_entropy

        # In float32 whatever the autocast: a sum of bf16 losses loses small differences.
        return cross_entropy(output.logits.float(), batch["labels"], reduction="sum")

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
            "mcc": _mcc(multiclass_confusion_matrix(predicted_B, labels_B, num_classes)),
            "log_loss": cross_entropy(logits_BC.double(), labels_B),
        }
        # torchmetrics answers in float32, whose 0.885 prints as 0.88499999.
        return {name: round(float(value), 6) for name, value in scores.items()}

    def decode(self, observed: Mapping[str, Tensor], examples: Examples) -> list[dict[str, Any]]:
        decoded, labels = [], examples.labels
        for probabilities in observed["logits_BC"].softmax(dim=1).tolist():
            scores = dict(zip(labels, (round(p, 6) for p in probabilities), strict=True))
            best = max(range(len(labels)), key=probabilities.__getitem__)
            decoded.append({"prediction": labels[best], "scores": scores})
        return decoded

    def examine(self, observed: Mapping[str, Tensor], examples: Examples) -> Tables:
        """Return the most confident mistakes, and how often which label was taken for which."""
        tables = {MISTAKES: _mistakes(observed, examples.rows, examples.labels)}
        if len(examples.labels) <= MAX_CONFUSED_LABELS:
            tables[CONFUSION] = _confusion(observed, examples.labels)
        return tables

    def baseline(self, rows: Sequence[Row]) -> Baseline:
        """Return what the most frequent label has; of log_loss, what the labels' shares have."""
        counts = Counter(row["label"] for row in rows)
        largest = min(counts, key=lambda label: (-counts[label], label))
        share = counts[largest] / len(rows)
        if self.metric == "log_loss":
            shares = [count / len(rows) for count in counts.values()]
            entropy = -sum(each * math.log(each) for each in shares)
            return Baseline("guessing by the labels' shares", entropy)
        # The largest label has precision `share` and recall 1, every other an F1 of 0.
        macro_f1 = 2 * share / (1 + share) / len(counts)
        scores = {"accuracy": share, "macro_f1": macro_f1, "mcc": 0.0}
        return Baseline(f"always {largest!r}", scores[self.metric])

    def collapse(self, tables: Tables) -> str | None:
        records = tables.get(CONFUSION, ())
        labels = [record["label"] for record in records]
        predicted = [name for name in labels if any(row[f"predicted {name}"] for row in records)]
        return f"predicts {predicted[0]!r} for every row" if len(predicted) == 1 else None

    def usage_lines(self) -> str:
        return """\
inputs = tokenizer(["Your text."], truncation=True, return_tensors="pt")
print(model.config.id2label[model(**inputs).logits.argmax().item()])
"""


def hardly_repeat(num_labels: int, num_rows: int) -> bool:
    """Say whether so many different labels are rather a column of something else."""
    return num_labels > max(20, num_rows // 2)


def _mistakes(
    observed: Mapping[str, Tensor], rows: Sequence[Row], labels: Sequence[str]
) -> list[dict[str, Any]]:
    logits_BC, labels_B = observed["logits_BC"], observed["labels_B"]
    assert len(logits_BC) == len(rows), f"{len(logits_BC)} observed of {len(rows)} rows"
    predicted_B = logits_BC.argmax(dim=1)
    # In float64: float32 calls everything above 0.99999997 certain, and so gives it no order.
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
    # The prefix keeps a label that is called "label" apart from the column of labels.
    names = [f"predicted {label}" for label in labels]
    return [
        {"label": label, **dict(zip(names, counts, strict=True))}
        for label, counts in zip(labels, counts_CC.tolist(), strict=True)
    ]


def _mcc(counts_CC: Tensor) -> float:
    """Return Matthews' correlation for C classes (Gorodkin 2004), 0 where it has no value.

    torchmetrics' own gives a constant guess 0.04 on unbalanced labels, and 1 on a single one.
    """
    counts_CC = counts_CC.double()
    total, right = counts_CC.sum(), counts_CC.diagonal().sum()
    true_C, predicted_C = counts_CC.sum(dim=1), counts_CC.sum(dim=0)
    covariance = right * total - true_C @ predicted_C
    spread = (total**2 - true_C @ true_C) * (total**2 - predicted_C @ predicted_C)
    return float(covariance / spread.sqrt()) if spread > 0 else 0.0


def _by_value(label: str) -> tuple[int, float, str]:
    try:
        value = float(label)
    except ValueError:
        return 1, 0.0, label
    return (0, value, label) if math.isfinite(value) else (1, 0.0, label)
