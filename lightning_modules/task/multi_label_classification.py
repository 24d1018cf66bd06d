"""Multi-label classification: each of C labels applies to a text or not, independently.

p(c | x) = sigmoid(z_c), trained with the mean binary cross-entropy over all B * C pairs of a row
and a label; a label is predicted if p >= `threshold`.
Metrics: micro_f1 = 2 TP / (2 TP + FP + FN), counted over all rows and labels; macro_f1, the mean
of the per-label F1, which is 0 for a label that is never true nor predicted; accuracy, the share
of rows whose set of labels is exactly right; mcc, Matthews' correlation over all B * C decisions;
log_loss, their mean binary cross-entropy, in nats; calibrated_log_loss, the same after the best
temperature for these rows (`metric.calibration`); brier, their mean squared distance (p - y)^2.
Example row: `{"text": "The striker was sold.", "label": ["money", "sport"]}`.

Shapes: B batch, T tokens, C classes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_modules.batch.type import Batch
from lightning_modules.error import DataError, Problem, Verbatim
from lightning_modules.rows import cell
from lightning_modules.rows.corpus import Corpus, Row
from lightning_modules.task import label
from lightning_modules.task.base import (
    MISTAKES,
    NUM_MISTAKES,
    Baseline,
    Direction,
    Examples,
    Tables,
)
from lightning_modules.task.metric.calibration import LOG_LOSSES, label_temperature
from lightning_modules.task.sequence import SequenceTask

if TYPE_CHECKING:
    from torch import Tensor

PER_LABEL = "per_label"
NAME_LABELS = "Set data.label to the column with the lists of labels."


@dataclass(frozen=True, kw_only=True)
class MultiLabelClassification(SequenceTask):
    """Multi-label classification.

    Attributes:
        threshold: Lowest probability at which a label is predicted, in (0, 1).
        separator: What stands between the labels of a cell, e.g. `|`; None: cells are lists.
        label_columns: Columns of 0 and 1, one per label, in place of a column of lists.

    """

    threshold: float
    separator: str | None
    label_columns: list[str] | None

    directions: ClassVar[Mapping[str, Direction]] = {
        "micro_f1": "maximize",
        "macro_f1": "maximize",
        "accuracy": "maximize",
        "mcc": "maximize",
        "log_loss": "minimize",
        "calibrated_log_loss": "minimize",
        "brier": "minimize",
    }
    cells: ClassVar[Mapping[str, cell.Cell]] = {**SequenceTask.cells, "label": cell.labels}

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        if not 0 < self.threshold < 1:
            yield Problem("threshold", "must be > 0 and < 1", self.threshold)
        if self.separator == "":
            yield Problem("separator", "must not be empty", "", "Set task.separator='|', e.g.")
        if self.label_columns is not None and len(self.label_columns) < 2:
            rule = "must be null or at least two columns"
            yield Problem("label_columns", rule, list(self.label_columns))
        if self.separator is not None and self.label_columns is not None:
            rule = "must be null if task.label_columns is set"
            yield Problem("separator", rule, self.separator)

    def check_known(self, rows: Sequence[Row], labels: Sequence[str]) -> None:
        label.check_known(_all_labels(rows), labels)

    def notes(self, splits: Mapping[str, Sequence[Row]]) -> Iterator[str]:
        labels = (repr(row["label"]) for row in chain.from_iterable(splits.values()))
        yield from label.conflicting(map(self.identities, splits.values()), labels)

    def required(self, row: Row) -> Iterator[str]:
        yield from row["label"]

    def labels(self, corpus: Corpus) -> tuple[str, ...]:
        """Return the labels of the training rows: numbers by value, then texts by alphabet."""
        rows = corpus.splits["train"]
        seen = set(_all_labels(rows))
        problems = []
        if not seen:
            rule, got = "the training rows must have labels", Verbatim("only empty lists")
            problems.append(Problem("data.label", rule, got, NAME_LABELS))
        elif label.rarely_repeat(len(seen), len(rows)):
            rule = "must hold labels that repeat"
            got = Verbatim(f"{len(seen)} different labels in the {len(rows)} training rows")
            problems.append(Problem("data.label", rule, got, NAME_LABELS))
        found = {split: _all_labels(rows) for split, rows in corpus.splits.items()}
        problems.extend(label.unseen(found, seen))
        if problems:
            raise DataError(problems)
        return label.in_order(seen)

    def targets(self, rows: Sequence[Row], labels: Sequence[str]) -> list[list[int]]:
        return [[int(name in row["label"]) for name in labels] for row in rows]

    def config(self, labels: Sequence[str]) -> dict[str, Any]:
        return {**super().config(labels), "problem_type": "multi_label_classification"}

    def num_targets(self, batch: Batch) -> float:
        return batch["labels"].numel()

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        from torch.nn.functional import binary_cross_entropy_with_logits

        logits_BC = output.logits.float()
        return binary_cross_entropy_with_logits(
            logits_BC, batch["labels"].to(logits_BC), reduction="sum"
        )

    def observe(self, network: Any, output: Any, batch: Batch) -> dict[str, Tensor]:
        observed = {"logits_BC": output.logits.detach().float().cpu()}
        if "labels" in batch:
            observed["labels_BC"] = batch["labels"].bool().cpu()
        return observed

    def score(self, observed: Mapping[str, Tensor], examples: Examples) -> dict[str, float]:
        from torch.nn.functional import binary_cross_entropy_with_logits

        labels_BC, predicted_BC = observed["labels_BC"], self._predicted(observed)
        logits_BC = observed["logits_BC"].double()
        counts_3C = _counts(predicted_BC, labels_BC)
        scores: dict[str, Any] = {
            "micro_f1": _f1(counts_3C.sum(dim=1)),
            "macro_f1": _f1(counts_3C).mean(),
            "accuracy": (predicted_BC == labels_BC).all(dim=1).double().mean(),
            "mcc": _mcc(counts_3C.sum(dim=1), labels_BC.numel()),
            "log_loss": binary_cross_entropy_with_logits(logits_BC, labels_BC.double()),
            "calibrated_log_loss": binary_cross_entropy_with_logits(
                logits_BC / label_temperature(logits_BC, labels_BC), labels_BC.double()
            ),
            "brier": (logits_BC.sigmoid() - labels_BC.double()).square().mean(),
        }
        return {name: round(float(value), 6) for name, value in scores.items()}

    def row_values(
        self, observed: Mapping[str, Tensor], examples: Examples
    ) -> Sequence[float] | None:
        from torch.nn.functional import binary_cross_entropy_with_logits

        logits_BC, labels_BC = observed["logits_BC"].double(), observed["labels_BC"]
        values_B: Tensor
        if self.metric == "accuracy":
            values_B = (self._predicted(observed) == labels_BC).all(dim=1).double()
        elif self.metric in ("log_loss", "calibrated_log_loss"):
            if self.metric == "calibrated_log_loss":
                logits_BC = logits_BC / label_temperature(logits_BC, labels_BC)
            losses_BC = binary_cross_entropy_with_logits(
                logits_BC, labels_BC.double(), reduction="none"
            )
            values_B = losses_BC.mean(dim=1)
        elif self.metric == "brier":
            values_B = (logits_BC.sigmoid() - labels_BC.double()).square().mean(dim=1)
        else:
            return None
        return list(map(float, values_B.tolist()))

    def decode(self, observed: Mapping[str, Tensor], examples: Examples) -> list[dict[str, Any]]:
        probabilities_BC = observed["logits_BC"].double().sigmoid().tolist()
        names = [_names(predicted, examples.labels) for predicted in self._predicted(observed)]
        return [
            {"prediction": predicted, "scores": dict(zip(examples.labels, scores, strict=True))}
            for predicted, scores in zip(names, _rounded(probabilities_BC), strict=True)
        ]

    def _predicted(self, observed: Mapping[str, Tensor]) -> Tensor:
        predicted_BC: Tensor = observed["logits_BC"].double().sigmoid() >= self.threshold
        return predicted_BC

    def right_answer(self, row: Row, labels: Sequence[str]) -> dict[str, Any]:
        scores = {name: float(name in row["label"]) for name in labels}
        return {"prediction": list(row["label"]), "scores": scores}

    def tables(self, observed: Mapping[str, Tensor], examples: Examples) -> Tables:
        """Return the rows with the most wrong labels, and the scores of each label."""
        predicted_BC, labels_BC = self._predicted(observed), observed["labels_BC"]
        return {
            MISTAKES: _mistakes(observed["logits_BC"], predicted_BC, labels_BC, examples),
            PER_LABEL: _per_label(_counts(predicted_BC, labels_BC), examples.labels),
        }

    def baseline(self, rows: Sequence[Row]) -> Baseline:
        """Return the best score of predicting the same set of labels for every row.

        For losses each label is predicted with its share. For accuracy the set is the most
        frequent one. For the others it is the k most frequent labels, which have the most true
        positives of all sets of k.
        """
        counts = Counter(_all_labels(rows))
        by_share = {"brier": _variance, **dict.fromkeys(LOG_LOSSES, _entropy)}.get(self.metric)
        if by_share is not None:
            least = sum(by_share(count / len(rows)) for count in counts.values())
            return Baseline("guessing by the labels' shares", least / max(1, len(counts)))
        if self.metric == "accuracy":
            sets = Counter(tuple(row["label"]) for row in rows)
            commonest = min(sets, key=lambda names: (-sets[names], names))
            return Baseline(f"always {list(commonest)!r}", sets[commonest] / len(rows))
        by_count = sorted(counts, key=lambda name: (-counts[name], name))
        guesses = [by_count[:size] for size in range(len(by_count) + 1)]
        scored = [(self._constant_score(guess, counts, len(rows)), guess) for guess in guesses]
        best, guess = max(scored, key=lambda found: found[0])
        return Baseline(f"always {guess!r}", best)

    def _constant_score(self, guess: Sequence[str], counts: Counter[str], num_rows: int) -> float:
        """Return the micro_f1, macro_f1 or mcc of predicting `guess` for every row."""
        import torch

        right = [counts[name] if name in guess else 0 for name in counts]
        wrong = [num_rows - counts[name] if name in guess else 0 for name in counts]
        missed = [0 if name in guess else counts[name] for name in counts]
        counts_3C = torch.tensor([right, wrong, missed]).double()
        if not counts:
            return 0.0
        if self.metric == "macro_f1":
            return float(_f1(counts_3C).mean())
        counts_3 = counts_3C.sum(dim=1)
        if self.metric == "mcc":
            return _mcc(counts_3, num_rows * len(counts))
        return float(_f1(counts_3))

    def constant_prediction(self, tables: Tables) -> str | None:
        records = tables.get(PER_LABEL, ())
        is_silent = records and not any(record["predicted"] for record in records)
        return "predicts no label for any row" if is_silent else None

    def usage_of_logits(self) -> str:
        probable = f"zip(labels, logits.sigmoid().tolist()) if p >= {self.threshold}"
        return f"[label for label, p in {probable}]"

    def usage_lines(self) -> str:
        return f"""\
inputs = tokenizer(["Your text."], truncation=True, return_tensors="pt")
probabilities = model(**inputs).logits[0].sigmoid().tolist()
print([model.config.id2label[c] for c, p in enumerate(probabilities) if p >= {self.threshold}])
"""


def _all_labels(rows: Sequence[Row]) -> Iterator[str]:
    return chain.from_iterable(row["label"] for row in rows)


def _names(chosen_C: Tensor, labels: Sequence[str]) -> list[str]:
    return [name for name, chosen in zip(labels, chosen_C.tolist(), strict=True) if chosen]


def _rounded(rows: Sequence[Sequence[float]]) -> Iterator[list[float]]:
    return ([round(value, 6) for value in row] for row in rows)


def _counts(predicted_BC: Tensor, labels_BC: Tensor) -> Tensor:
    """Return TP, FP and FN of each label, shape (3, C)."""
    import torch

    right_BC, wrong_BC = predicted_BC & labels_BC, predicted_BC & ~labels_BC
    missed_BC = ~predicted_BC & labels_BC
    return torch.stack([each.sum(dim=0) for each in (right_BC, wrong_BC, missed_BC)]).double()


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Return part / whole, and 0 for 0 / 0."""
    return part / whole.clamp(min=1)


def _f1(counts: Tensor) -> Tensor:
    right, wrong, missed = counts
    return _ratio(2 * right, 2 * right + wrong + missed)


def _mcc(counts_3: Tensor, num_decisions: int) -> float:
    """Return Matthews' correlation for two classes, 0 if it is undefined."""
    right, wrong, missed = counts_3.tolist()
    rest = num_decisions - right - wrong - missed
    spread = (right + wrong) * (right + missed) * (rest + wrong) * (rest + missed)
    return (right * rest - wrong * missed) / math.sqrt(spread) if spread else 0.0


def _variance(share: float) -> float:
    """Return the mean squared distance of a label from its share."""
    return share * (1 - share)


def _entropy(share: float) -> float:
    return -sum(each * math.log(each) for each in (share, 1 - share) if each > 0)


def _mistakes(
    logits_BC: Tensor, predicted_BC: Tensor, labels_BC: Tensor, examples: Examples
) -> list[dict[str, Any]]:
    """Return the rows with the most wrong labels first; the loss breaks ties, greatest first."""
    from torch.nn.functional import binary_cross_entropy_with_logits

    assert len(logits_BC) == len(examples.rows), "every row must be observed once"
    losses_B = binary_cross_entropy_with_logits(
        logits_BC.double(), labels_BC.double(), reduction="none"
    ).sum(dim=1)
    num_wrong_B = (predicted_BC != labels_BC).sum(dim=1)
    ranked = sorted(
        num_wrong_B.nonzero().flatten().tolist(),
        key=lambda row: (-int(num_wrong_B[row]), -float(losses_B[row]), row),
    )
    mistakes = []
    for row in ranked[:NUM_MISTAKES]:
        predicted_C, labels_C = predicted_BC[row], labels_BC[row]
        texts = {name: value for name, value in examples.rows[row].items() if name != "label"}
        mistakes.append(
            {
                **texts,
                "label": ", ".join(_names(labels_C, examples.labels)),
                "missed": ", ".join(_names(labels_C & ~predicted_C, examples.labels)),
                "spurious": ", ".join(_names(predicted_C & ~labels_C, examples.labels)),
            }
        )
    return mistakes


def _per_label(counts_3C: Tensor, labels: Sequence[str]) -> list[dict[str, Any]]:
    right_C, wrong_C, missed_C = counts_3C
    columns = {
        "precision": _ratio(right_C, right_C + wrong_C),
        "recall": _ratio(right_C, right_C + missed_C),
        "f1": _f1(counts_3C),
    }
    return [
        {
            "label": name,
            **{key: round(float(value_C[number]), 6) for key, value_C in columns.items()},
            "support": int(right_C[number] + missed_C[number]),
            "predicted": int(right_C[number] + wrong_C[number]),
        }
        for number, name in enumerate(labels)
    ]
