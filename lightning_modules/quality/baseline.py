"""Simple models that a trained one must beat: the largest class, TF-IDF, nearest neighbours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_modules.quality.finding import Finding, Say
from lightning_modules.quality.listing import Listing

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_SCORED = 10_000
"""Most validation rows that are scored."""
NUM_TOGETHER = 500  # rows that are compared with all training rows at once


@dataclass(frozen=True)
class Baselines(Finding):
    """The scores of simple models on the validation rows.

    Attributes:
        trained: Training rows that they read.
        scored: Validation rows.
        scores: By model, its accuracy and macro F1.

    """

    trained: int
    scored: int
    scores: Mapping[str, Mapping[str, float]]

    name: ClassVar[str] = "to beat"

    @property
    def is_fault(self) -> bool:
        return False

    def line(self) -> str:
        each = ", ".join(f"{name} {scores['accuracy']:.3f}" for name, scores in self.scores.items())
        return f"validation accuracy {each} ({self.scored:,} rows, {self.trained:,} trained on)"

    def details(self) -> Iterator[str]:
        yield "macro F1 " + ", ".join(
            f"{name} {scores['macro_f1']:.3f}" for name, scores in self.scores.items()
        )


def find_baselines(
    listing: Listing, numbers: Sequence[int], features: NDArray[Any] | None, say: Say
) -> Baselines | None:
    """Score simple models that read the training rows among `numbers`; None without either split.

    Args:
        listing: The rows.
        numbers: Those to read.
        features: Their frozen features, (N, D); None compares neighbours by TF-IDF.
        say: Receives what is being done.

    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.svm import LinearSVC

    at = {
        split: [n for n, number in enumerate(numbers) if listing.splits[number] == split]
        for split in ("train", "validation")
    }
    at["validation"] = at["validation"][:MOST_SCORED]
    labels = {split: [str(listing.labels[numbers[n]]) for n in each] for split, each in at.items()}
    if not at["validation"] or len(set(labels["train"])) < 2:
        return None
    say("scoring simple models", 0, 0)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
    train = words.fit_transform([listing.texts[numbers[n]] for n in at["train"]])
    validation = words.transform([listing.texts[numbers[n]] for n in at["validation"]])
    largest = Counter(labels["train"]).most_common(1)[0][0]
    linear = LinearSVC(random_state=0).fit(train, labels["train"]).predict(validation)
    if features is None:
        name, nearest = "nearest neighbour by TF-IDF", _nearest(validation, train)
    else:
        scaled = _unit(features)
        name = "nearest neighbour by frozen features"
        nearest = _nearest(scaled[at["validation"]], scaled[at["train"]])
    predicted: dict[str, Sequence[str]] = {
        f"always {largest!r}": [largest] * len(at["validation"]),
        "TF-IDF + linear": [str(each) for each in linear],
        name: [labels["train"][each] for each in nearest],
    }
    scores = {model: _scores(each, labels["validation"]) for model, each in predicted.items()}
    return Baselines(len(at["train"]), len(at["validation"]), scores)


def _scores(predicted: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    from sklearn.metrics import f1_score

    equal = sum(one == other for one, other in zip(predicted, labels, strict=True))
    macro = f1_score(labels, predicted, average="macro", zero_division=0)
    return {"accuracy": equal / len(labels), "macro_f1": float(macro)}


def _unit(features: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    scaled: NDArray[Any] = features / np.maximum(lengths, 1e-12)
    return scaled


def _nearest(rows: Any, among: Any) -> list[int]:
    """Return the row of `among` with the largest product with each row; both are of unit length."""
    found: list[int] = []
    for start in range(0, rows.shape[0], NUM_TOGETHER):
        products = rows[start : start + NUM_TOGETHER] @ among.T
        dense = products.toarray() if hasattr(products, "toarray") else products
        found += dense.argmax(axis=1).tolist()
    return found
