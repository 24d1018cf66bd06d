"""Rows whose label is probably wrong, by confident learning.

Each row gets class probabilities from models that were not trained on it (out of fold): a
logistic regression on frozen features, and a naive Bayes on TF-IDF of words and pairs of words;
their logarithms are averaged. A class's threshold t_j is the mean probability of class j over the
rows labelled j. A row is a suspect if the most probable of the classes that reach their threshold
is not its label. Suspects are ordered by the probability of their label, the least first.

Paper: Northcutt et al. 2021, arXiv:1911.00068.
Shapes: N rows, C classes, D width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_modules.quality.finding import Finding, Place, Say, count
from lightning_modules.quality.listing import Listing

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_FOLDS = 5
NUM_PRINTED = 20


@dataclass(frozen=True)
class Suspect:
    """A row whose label is probably wrong.

    Attributes:
        row: The row.
        looks_like: The label that it probably has.
        probability: Of `looks_like`.
        label_probability: Of its own label.

    """

    row: Place
    looks_like: str
    probability: float
    label_probability: float


@dataclass(frozen=True)
class Suspects(Finding):
    """Rows whose label is probably wrong, the most probable first.

    Attributes:
        number: Rows that were looked at.
        accuracy: Share of these whose label the out-of-fold models predict; the higher it is, the
            more the suspects say.
        models: What the probabilities are from.
        rows: All suspects.

    """

    number: int
    accuracy: float
    models: str
    rows: Sequence[Suspect]

    name: ClassVar[str] = "labels"

    @property
    def is_fault(self) -> bool:
        return bool(self.rows)

    def line(self) -> str:
        return (
            f"{count(len(self.rows), 'label')} of {self.number:,} may be wrong, by {self.models} "
            f"that predict {self.accuracy:.0%} of the labels; the likeliest first"
        )

    def details(self) -> Iterator[str]:
        for each in self.rows[:NUM_PRINTED]:
            yield f"{each.row} -> looks like {each.looks_like} ({each.probability:.2f})"
        if len(self.rows) > NUM_PRINTED:
            yield f"and {len(self.rows) - NUM_PRINTED:,} more; --json lists them"


def find_suspects(
    listing: Listing, numbers: Sequence[int], features: NDArray[Any] | None, say: Say
) -> Suspects | None:
    """Find the probable label errors of some rows.

    None if there are too few rows of two classes, or if the models are no better than guessing.

    Args:
        listing: The rows.
        numbers: Those to look at.
        features: Their frozen features, (N, D); None if the model cannot be used.
        say: Receives what is being done.

    """
    import numpy as np

    sizes = Counter(listing.labels[number] for number in numbers)
    # A class needs a row in each fold.
    kept = [at for at, number in enumerate(numbers) if sizes[listing.labels[number]] >= NUM_FOLDS]
    rows = [numbers[at] for at in kept]
    classes = sorted({str(listing.labels[number]) for number in rows})
    if len(classes) < 2:
        return None
    index = {label: at for at, label in enumerate(classes)}
    labels_N = np.array([index[str(listing.labels[number])] for number in rows])
    texts = [listing.texts[number] for number in rows]
    say("looking for wrong labels", 0, 0)
    logs_NC = _log(_of_words(texts, labels_N))
    models = "a naive Bayes on words"
    if features is not None:
        logs_NC = (logs_NC + _log(_of_features(features[kept], labels_N))) / 2
        models = "a head on frozen features and a naive Bayes on words"
    probabilities_NC = np.exp(logs_NC - np.logaddexp.reduce(logs_NC, axis=1, keepdims=True))
    accuracy = float((probabilities_NC.argmax(axis=1) == labels_N).mean())
    if accuracy <= np.bincount(labels_N).max() / len(labels_N):
        return None
    return Suspects(
        len(rows),
        accuracy,
        models,
        [
            Suspect(
                listing.place(rows[at]),
                classes[other],
                round(float(probabilities_NC[at, other]), 4),
                round(float(probabilities_NC[at, labels_N[at]]), 4),
            )
            for at, other in label_errors(probabilities_NC, labels_N)
        ],
    )


def label_errors(probabilities_NC: NDArray[Any], labels_N: NDArray[Any]) -> list[tuple[int, int]]:
    """Return each suspect's number and the class that it looks like, the likeliest error first.

    Args:
        probabilities_NC: Out-of-fold probabilities; every class has rows.
        labels_N: The given labels.

    """
    import numpy as np

    rows_N = np.arange(len(labels_N))
    num_classes = probabilities_NC.shape[1]
    thresholds_C = np.array([probabilities_NC[labels_N == c, c].mean() for c in range(num_classes)])
    reached_NC = np.where(probabilities_NC >= thresholds_C, probabilities_NC, -1.0)
    looks_N = reached_NC.argmax(axis=1)
    is_suspect_N = (reached_NC.max(axis=1) >= 0) & (looks_N != labels_N)
    suspects = np.flatnonzero(is_suspect_N)
    own = probabilities_NC[rows_N, labels_N][suspects]
    return [(int(at), int(looks_N[at])) for at in suspects[np.argsort(own, kind="stable")]]


def _of_words(texts: Sequence[str], labels_N: NDArray[Any]) -> NDArray[Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
    return _out_of_fold(make_pipeline(words, MultinomialNB(alpha=0.3)), texts, labels_N)


def _of_features(features_ND: NDArray[Any], labels_N: NDArray[Any]) -> NDArray[Any]:
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    # All of one length, so that one strength of the penalty suits every model.
    lengths_N1 = np.linalg.norm(features_ND, axis=1, keepdims=True)
    scaled_ND = 10 * features_ND / np.maximum(lengths_N1, 1e-12)
    return _out_of_fold(LogisticRegression(C=0.1, max_iter=200), scaled_ND, labels_N)


def _out_of_fold(model: Any, inputs: Any, labels_N: NDArray[Any]) -> NDArray[Any]:
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(NUM_FOLDS, shuffle=True, random_state=0)
    found: NDArray[Any] = cross_val_predict(
        model, inputs, labels_N, cv=folds, method="predict_proba"
    )
    return found


def _log(probabilities_NC: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    logs: NDArray[Any] = np.log(np.maximum(probabilities_NC, 1e-9))
    return logs
