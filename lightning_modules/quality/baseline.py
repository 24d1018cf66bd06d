"""Simple models that a trained one must beat.

For classes: the largest one, TF-IDF with a linear SVM, and the nearest training row. For numbers:
their mean, TF-IDF with ridge regression, and the mean number of the nearest training rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_modules.quality.finding import Finding, Say
from lightning_modules.quality.listing import Listing
from lightning_modules.task.metric.correlation import pearson, spearman

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_SCORED = 10_000
"""Most validation rows that are scored."""
NUM_TOGETHER = 100  # rows that are compared with all training rows at once: 40 MB for 50,000
NUM_NEAREST = 5
"""Training rows whose numbers are averaged."""
RIDGE = 1.0
"""Weight of ridge regression's penalty; the rows of TF-IDF are of length 1."""


@dataclass(frozen=True)
class Baselines(Finding):
    """The scores of simple models on the validation rows.

    Attributes:
        trained: Training rows that they read.
        scored: Validation rows.
        scores: By model, its metrics; the first is the one that is printed first.

    """

    trained: int
    scored: int
    scores: Mapping[str, Mapping[str, float]]

    name: ClassVar[str] = "to beat"

    @property
    def is_fault(self) -> bool:
        return False

    def line(self) -> str:
        first, *_ = self._metrics
        return (
            f"validation {_shown(first)} {self._each(first)} "
            f"({self.scored:,} rows, {self.trained:,} trained on)"
        )

    def details(self) -> Iterator[str]:
        yield from (f"{_shown(metric)} {self._each(metric)}" for metric in self._metrics[1:])

    @property
    def _metrics(self) -> Sequence[str]:
        return list(next(iter(self.scores.values())))

    def _each(self, metric: str) -> str:
        pairs = ((name, scores[metric]) for name, scores in self.scores.items())
        return ", ".join(f"{name} {value:.3f}" for name, value in pairs)


def find_baselines(
    listing: Listing, numbers: Sequence[int], features: NDArray[Any] | None, say: Say
) -> Baselines | None:
    """Score simple models that read the training rows among `numbers`; None without either split.

    Args:
        listing: The rows, with classes or numbers to predict.
        numbers: Those to read.
        features: Their frozen features, (N, L, D); None compares neighbours by TF-IDF.
        say: Receives what is being done.

    """
    at = {
        split: [n for n, number in enumerate(numbers) if listing.splits[number] == split]
        for split in ("train", "validation")
    }
    at["validation"] = at["validation"][:MOST_SCORED]
    labels = [listing.rows[number]["label"] for number in numbers]
    train, validation = ([labels[n] for n in each] for each in at.values())
    if not validation or len(set(train)) < 2:
        return None
    say("scoring simple models", 0, 0)
    texts = {split: [listing.texts[numbers[n]] for n in each] for split, each in at.items()}
    inputs = _inputs(texts["train"], texts["validation"], at, features)
    if listing.has_numbers:
        scores = _numbers(inputs, train, validation)
    else:
        scores = _classes(inputs, train, validation)
    return Baselines(len(train), len(validation), scores)


@dataclass(frozen=True)
class _Inputs:
    """What simple models read.

    Attributes:
        train: TF-IDF of the training texts.
        validation: The same of the validation texts.
        nearest: The numbers of the nearest training rows of each validation row, (V, K).
        by: What says which are near.

    """

    train: Any
    validation: Any
    nearest: NDArray[Any]
    by: str


def _inputs(
    train: Sequence[str],
    validation: Sequence[str],
    at: Mapping[str, Sequence[int]],
    features: NDArray[Any] | None,
) -> _Inputs:
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
    read, asked = words.fit_transform(train), words.transform(validation)
    if features is None:
        return _Inputs(read, asked, _nearest(asked, read), "TF-IDF")
    last = features[:, 0]
    near = _nearest(last[at["validation"]], last[at["train"]])
    return _Inputs(read, asked, near, "frozen features")


def _classes(
    inputs: _Inputs, train: Sequence[str], validation: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return accuracy and macro F1 of each model."""
    from sklearn.metrics import f1_score
    from sklearn.svm import LinearSVC

    largest = Counter(train).most_common(1)[0][0]
    linear = LinearSVC(random_state=0).fit(inputs.train, train).predict(inputs.validation)
    predicted: dict[str, Sequence[str]] = {
        f"always {largest!r}": [largest] * len(validation),
        "TF-IDF + linear": [str(each) for each in linear],
        f"nearest neighbour by {inputs.by}": [train[each] for each in inputs.nearest[:, 0]],
    }

    def scores(found: Sequence[str]) -> dict[str, float]:
        equal = sum(one == other for one, other in zip(found, validation, strict=True))
        macro = f1_score(validation, found, average="macro", zero_division=0)
        return {"accuracy": equal / len(validation), "macro_f1": float(macro)}

    return {name: scores(found) for name, found in predicted.items()}


def _numbers(
    inputs: _Inputs, train: Sequence[float], validation: Sequence[float]
) -> dict[str, dict[str, float]]:
    """Return the errors and correlations of each model."""
    import numpy as np
    from sklearn.linear_model import Ridge

    known, true = np.array(train), np.array(validation)
    mean, scale = known.mean(), known.std()
    ridge = Ridge(RIDGE, solver="sparse_cg").fit(inputs.train, (known - mean) / scale)
    num = inputs.nearest.shape[1]
    predicted = {
        f"always the mean {mean:.4g}": np.full(len(true), mean),
        "TF-IDF + ridge": mean + scale * ridge.predict(inputs.validation),
        f"{num} nearest neighbours by {inputs.by}": known[inputs.nearest].mean(axis=1),
    }

    def scores(found: NDArray[Any]) -> dict[str, float]:
        errors = found - true
        return {
            "rmse": float(np.sqrt((errors**2).mean())),
            "mae": float(np.abs(errors).mean()),
            "pearson": pearson(found, true),
            "spearman": spearman(found, true),
        }

    return {name: scores(found) for name, found in predicted.items()}


def _shown(metric: str) -> str:
    """Return a metric's name for people."""
    return {"macro_f1": "macro F1", "rmse": "RMSE", "mae": "MAE"}.get(metric, metric)


def _nearest(rows: Any, among: Any) -> NDArray[Any]:
    """Return the rows of `among` with the largest products with each row, the largest first.

    All are of one length. Shape: (N, K), K at most `NUM_NEAREST`.
    """
    import numpy as np

    found = []
    for start in range(0, rows.shape[0], NUM_TOGETHER):
        products = rows[start : start + NUM_TOGETHER] @ among.T
        dense = products.toarray() if hasattr(products, "toarray") else products
        num = min(NUM_NEAREST, dense.shape[1])
        best = np.argpartition(-dense, num - 1, axis=1)[:, :num]
        order = np.argsort(-np.take_along_axis(dense, best, axis=1), axis=1, kind="stable")
        found.append(np.take_along_axis(best, order, axis=1))
    return np.concatenate(found)
