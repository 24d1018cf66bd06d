"""Regression: a number y for a text, or for a pair of texts.

The network learns z = (y - m) / s, with m the mean and s the standard deviation of the training
rows' numbers, so that one learning rate fits grades and years alike. Predictions, scores and
exports are in the unit of the rows: p = m + s z.
Loss, with e the error in standard deviations: mse e^2; l1 |e|; huber e^2 / 2 up to |e| = d, and
d (|e| - d / 2) beyond (Huber 1964, d = huber_delta).
Metrics: rmse, the root of the mean squared error; mae, the mean absolute error; mse; pearson and
spearman, see `metric.correlation`.
With `symmetric`, p is the mean of both orders of a pair (`both_orders`).
Example row: `{"text": "A plane takes off.", "text_pair": "An air plane lifts.", "label": 4.8}`.

Shapes: B batch, N rows.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lightning_modules.batch.type import Batch
from lightning_modules.error import DataError, Problem, Verbatim
from lightning_modules.rows import cell
from lightning_modules.rows.corpus import Corpus, Row
from lightning_modules.rows.number import number
from lightning_modules.schema import positive
from lightning_modules.task.base import (
    MISTAKES,
    NUM_MISTAKES,
    Baseline,
    Direction,
    Examples,
    Tables,
)
from lightning_modules.task.both_orders import mean_of_row, sorted_pair, with_swapped
from lightning_modules.task.label import conflicting
from lightning_modules.task.metric.correlation import pearson, spearman
from lightning_modules.task.sequence import SequenceTask

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

FAR = 10
"""A number this many standard deviations from the mean is pointed out."""
NARROW = 0.01
"""Predictions that spread less than this share of the numbers are the same for every row."""
DISTANT = 1e4
"""A mean of more standard deviations, e.g. of times in seconds since 1970, takes more digits than
float32 has, so that it stays out of an export's weights."""
ONE_NUMBER = "the training rows must have at least two different numbers"
NAME_NUMBERS = "Set data.label to the column with the numbers."


class Loss(Enum):
    """What is minimized for each row."""

    mse = "mse"
    huber = "huber"
    l1 = "l1"


@dataclass(frozen=True, kw_only=True)
class Regression(SequenceTask):
    """A number per text.

    Attributes:
        loss: `mse`, `huber` or `l1`.
        huber_delta: Error in standard deviations from which `huber` counts it linearly, > 0.
        center: Subtracted from the numbers in training, in their unit; None takes their mean.
        scale: Divides them then, > 0, in their unit; None takes their standard deviation.
        symmetric: Whether a pair of texts means the same in both orders.

    """

    loss: Loss
    huber_delta: float
    center: float | None
    scale: float | None
    symmetric: bool

    directions: ClassVar[Mapping[str, Direction]] = {
        "rmse": "minimize",
        "mae": "minimize",
        "mse": "minimize",
        "pearson": "maximize",
        "spearman": "maximize",
    }
    cells: ClassVar[Mapping[str, cell.Cell]] = {**SequenceTask.cells, "label": number}
    loss_settings: ClassVar[frozenset[str]] = frozenset(("loss", "huber_delta"))
    smooth_metric: ClassVar[str | None] = "mse"
    not_inputs: ClassVar[frozenset[str]] = SequenceTask.not_inputs | {"row"}

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from positive(self, "huber_delta", "scale")
        if self.center is not None and not math.isfinite(self.center):
            yield Problem("center", "must be a finite number, or null", self.center)

    def identity(self, row: Row) -> str:
        return super().identity(sorted_pair(row) if self.symmetric else row)

    def near_key(self, row: Row) -> str:
        return super().near_key(sorted_pair(row) if self.symmetric else row)

    def check_rows(self, rows: Sequence[Row], source: str) -> None:
        if self.symmetric and "text_pair" not in rows[0]:
            rule = f"must be false for single texts, which {source} has"
            fix = "Name the column with the second text: data.text_pair=COLUMN"
            raise DataError(Problem("task.symmetric", rule, True, fix))
        if len(found := {row["label"] for row in rows}) == 1:
            raise DataError(_only(found, f"in the {len(rows)} rows of {source}"))

    def labels(self, corpus: Corpus) -> tuple[str, ...]:
        """Return none; raise DataError if all training rows have the same number."""
        rows = corpus.splits["train"]
        if len(found := {row["label"] for row in rows}) == 1:
            raise DataError(_only(found, f"in the {len(rows)} training rows"))
        return ()

    def notes(self, splits: Mapping[str, Sequence[Row]]) -> Iterator[str]:
        every = (str(row["label"] + 0.0) for row in chain(*splits.values()))  # -0.0 is 0.0
        yield from conflicting(map(self.identities, splits.values()), every, "numbers")
        numbers = [row["label"] for row in splits["train"]]
        mean, spread = statistics.fmean(numbers), statistics.pstdev(numbers)
        far = [each for each in numbers if abs(each - mean) > FAR * spread]
        if far:
            largest = max(far, key=lambda each: abs(each - mean))
            yield (
                f"{len(far)} of {len(numbers)} training rows have a number more than {FAR} "
                f"standard deviations from the mean {mean:.4g}, e.g. {largest:g}: correct them, "
                "or set task.loss=huber"
            )

    def fit_to_rows(self, corpus: Corpus, labels: Sequence[str]) -> Self:
        """Return the task with the mean and the standard deviation of the training rows."""
        numbers = [row["label"] for row in corpus.splits["train"]]
        center = statistics.fmean(numbers) if self.center is None else self.center
        # A sample of the rows, e.g. a probe's, may hold one number alone.
        scale = statistics.pstdev(numbers) or 1.0 if self.scale is None else self.scale
        return replace(self, center=center, scale=scale)

    @property
    def state(self) -> Mapping[str, Any]:
        return {"center": self._center, "scale": self._scale}

    def from_state(self, state: Mapping[str, Any]) -> Self:
        return replace(self, **state)

    @property
    def shift_and_scale(self) -> tuple[float, float]:
        return self._center, self._scale

    @property
    def _center(self) -> float:
        return 0.0 if self.center is None else self.center

    @property
    def _scale(self) -> float:
        return 1.0 if self.scale is None else self.scale

    def encode(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return columns of examples: one per row, or two, one per order, if `symmetric`."""
        if not self.symmetric or not rows or "text_pair" not in rows[0]:
            return super().encode(rows, tokenizer, max_length, labels)
        columns = super().encode(with_swapped(rows), tokenizer, max_length, labels)
        return {**columns, "row": [number for number in range(len(rows)) for _ in range(2)]}

    def encode_training(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        # One order: both take twice as long, and scored no more on the STS benchmark.
        return super().encode(rows, tokenizer, max_length, labels)

    def targets(self, rows: Sequence[Row], labels: Sequence[str]) -> list[float]:
        return [(row["label"] - self._center) / self._scale for row in rows]

    def config(self, labels: Sequence[str]) -> dict[str, Any]:
        return {"num_labels": 1, "problem_type": "regression"}

    def num_targets(self, batch: Batch) -> float:
        return len(batch["labels"])

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        from torch.nn.functional import huber_loss, l1_loss, mse_loss

        # In float32 even under autocast: a sum of bf16 losses rounds small differences away.
        found_B, true_B = output.logits[:, 0].float(), batch["labels"].float()
        if self.loss is Loss.huber:
            return huber_loss(found_B, true_B, reduction="sum", delta=self.huber_delta)
        return (mse_loss if self.loss is Loss.mse else l1_loss)(found_B, true_B, reduction="sum")

    def observe(self, network: Any, output: Any, batch: Batch) -> dict[str, Tensor]:
        # In float64, in which a year plus a small part of a year keeps the part.
        predicted_B = output.logits[:, 0].detach().double().cpu() * self._scale + self._center
        rows = {"row_B": batch["row"].cpu()} if "row" in batch else {}
        return {"predicted_B": predicted_B, **rows}

    def score(self, observed: Mapping[str, Tensor], examples: Examples) -> dict[str, float]:
        predicted_N, true_N = _numbers(observed, examples)
        errors_N = predicted_N - true_N
        mse = float((errors_N**2).mean())
        scores = {
            "rmse": math.sqrt(mse),
            "mae": float(abs(errors_N).mean()),
            "mse": mse,
            "pearson": pearson(predicted_N, true_N),
            "spearman": spearman(predicted_N, true_N),
        }
        return {name: short(value) for name, value in scores.items()}

    def row_values(
        self, observed: Mapping[str, Tensor], examples: Examples
    ) -> Sequence[float] | None:
        if self.metric not in ("mae", "mse"):
            return None
        predicted_N, true_N = _numbers(observed, examples)
        errors_N = predicted_N - true_N
        values: list[float] = (abs(errors_N) if self.metric == "mae" else errors_N**2).tolist()
        return values

    def num_scored(self, observed: Mapping[str, Tensor], examples: Examples) -> int:
        return len(_predicted(observed, examples))

    def scorer(
        self, observed: Mapping[str, Tensor], examples: Examples
    ) -> Callable[[Sequence[int]], float]:
        # One number per row, also if two orders were observed.
        return super().scorer({"predicted_B": _predicted(observed, examples)}, examples)

    def decode(self, observed: Mapping[str, Tensor], examples: Examples) -> list[dict[str, Any]]:
        predicted = _predicted(observed, examples).tolist()
        return [{"prediction": self._shown(each)} for each in predicted]

    def right_answer(self, row: Row, labels: Sequence[str]) -> dict[str, Any]:
        return {"prediction": row["label"]}

    def tables(self, observed: Mapping[str, Tensor], examples: Examples) -> Tables:
        """Return the rows with the largest errors."""
        predicted = _predicted(observed, examples).tolist()
        rows = [
            {**row, "prediction": self._shown(each), "error": short(each - row["label"])}
            for each, row in zip(predicted, examples.rows, strict=True)
        ]
        worst = sorted(rows, key=lambda row: -abs(row["error"]))
        return {MISTAKES: worst[:NUM_MISTAKES]}

    def baseline(self, rows: Sequence[Row]) -> Baseline:
        """Return the score of the best single number: the mean, or the median for `mae`."""
        numbers = [row["label"] for row in rows]
        median, mean = statistics.median(numbers), statistics.fmean(numbers)
        if self.metric == "mae":
            mae = statistics.fmean(abs(each - median) for each in numbers)
            return Baseline(f"always the median {median:.4g}", mae)
        variance = statistics.fmean((each - mean) ** 2 for each in numbers)
        scores = {"rmse": math.sqrt(variance), "mse": variance}
        return Baseline(f"always the mean {mean:.4g}", scores.get(self.metric, 0.0))

    def beats(self, value: float, baseline: Baseline) -> bool:
        # Relative: numbers may be millionths, of which the rounding is smaller still.
        much = abs(value - baseline.score) > 1e-6 * max(abs(value), abs(baseline.score))
        return much and self.better(value, baseline.score)

    def constant_prediction(self, tables: Tables) -> str | None:
        rows = tables.get(MISTAKES, ())
        found, true = ([row[name] for row in rows] for name in ("prediction", "label"))
        if len(rows) < 2 or max(true) == min(true):
            return None
        if max(found) - min(found) >= NARROW * (max(true) - min(true)):
            return None
        return f"predicts about {found[0]:.4g} for every row"

    def _shown(self, value: float) -> float:
        """Return a predicted number with 6 digits, or those that tell it from a distant mean."""
        distance = abs(self._center) / self._scale
        return short(value, 6 if distance <= DISTANT else min(15, 4 + int(math.log10(distance))))

    def usage_of_logits(self) -> str:
        return f"logits.item(){self._in_unit()}"

    def usage_lines(self) -> str:
        if self.symmetric:
            return f"""\
one, other = "One text.", "Another text."
inputs = tokenizer(
    [one, other], [other, one], padding=True, truncation=True, return_tensors="pt"
)
print(model(**inputs).logits.mean().item(){self._in_unit()})
"""
        return f"""\
inputs = tokenizer(["Your text."], truncation=True, return_tensors="pt")
print(model(**inputs).logits.item(){self._in_unit()})
"""

    def _in_unit(self) -> str:
        """Return what turns a network's output into the unit of the rows, as Python code."""
        if (self._center, self._scale) == (0, 1):
            return ""
        return f" * {self._scale!r} + {self._center!r}"


def short(value: float, digits: int = 6) -> float:
    """Return a number with 6 digits, which are those that float32 surely holds, or with more."""
    return float(f"{value:.{digits}g}")


def _numbers(
    observed: Mapping[str, Tensor], examples: Examples
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the predicted and the true numbers, (N,)."""
    import numpy as np

    predicted_N: NDArray[Any] = _predicted(observed, examples).double().numpy()
    true_N = np.array([row["label"] for row in examples.rows], dtype=np.float64)
    assert len(predicted_N) == len(true_N), f"{len(predicted_N)} outputs for {len(true_N)} rows"
    return predicted_N, true_N


def _predicted(observed: Mapping[str, Tensor], examples: Examples) -> Tensor:
    """Return the predicted number of each row, (N,)."""
    if "row_B" not in observed:
        return observed["predicted_B"]
    return mean_of_row(observed["predicted_B"], observed["row_B"], len(examples.rows))


def _only(found: set[float], where: str) -> Problem:
    (only,) = found
    return Problem("data.label", ONE_NUMBER, Verbatim(f"only {only:g} {where}"), NAME_NUMBERS)
