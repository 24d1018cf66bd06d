"""Rows whose label is probably wrong, by confident learning.

Each row gets class probabilities p_m from models m that were not trained on it (out of fold): a
logistic regression on frozen features, a naive Bayes on TF-IDF of words and pairs of words, and a
logistic regression on TF-IDF of the characters in words. They are combined as log p = sum over m of
w_m log p_m, normalized, with the w_m >= 0 that have the least log loss on the given labels
(stacking, Wolpert 1992). A class's threshold t_j is the mean probability of class j over the
rows labelled j. A row is a suspect if the most probable of the classes that reach their threshold
is not its label. Texts that have several labels are conflicts, and no suspects. Suspects are
ordered by the probability of their label, the least first.

Paper: Northcutt et al. 2021, arXiv:1911.00068.
Shapes: N rows, M models, C classes, L layers, D width.
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
MAX_CHOSEN_BY = 5_000
"""Most rows whose log loss decides on penalties and weights."""
PENALTIES = (1e-4, 1e-3, 1e-2)
"""Inverse strengths of the penalty of a head on frozen features, of which the folds choose one."""
MAX_FEATURES = 200_000  # groups of characters
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
        features: Their frozen features, (N, L, D); None if the model cannot be used.
        say: Receives what is being done.

    """
    import numpy as np

    kept = _without_conflicts(listing, numbers)
    sizes = Counter(listing.labels[numbers[at]] for at in kept)
    # A class needs a row in each fold.
    kept = [at for at in kept if sizes[listing.labels[numbers[at]]] >= NUM_FOLDS]
    rows = [numbers[at] for at in kept]
    classes = sorted({str(listing.labels[number]) for number in rows})
    if len(classes) < 2:
        return None
    index = {label: at for at, label in enumerate(classes)}
    labels_N = np.array([index[str(listing.labels[number])] for number in rows])
    texts = [listing.texts[number] for number in rows]
    say("looking for wrong labels", 0, 0)
    logs = [_of_words(texts, labels_N), _of_characters(texts, labels_N)]
    models = "models of words and characters"
    if features is not None:
        # Without a copy where all rows are kept.
        used = features if len(kept) == len(numbers) else features[kept]
        logs.append(_of_features(used, labels_N))
        models = "models of frozen features, words and characters"
    logs_NC = _combined(np.stack(logs), labels_N)
    if not _says_more(logs_NC, labels_N):
        return None
    probabilities_NC = np.exp(logs_NC)
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


def _without_conflicts(listing: Listing, numbers: Sequence[int]) -> list[int]:
    """Return the places in `numbers` of rows whose text has one label.

    The others are listed as conflicts. A model that is trained on the text with the other label
    would find each of them wrong.
    """
    labels: dict[str, set[str | None]] = {}
    for number in numbers:
        labels.setdefault(listing.texts[number], set()).add(listing.labels[number])
    return [at for at, number in enumerate(numbers) if len(labels[listing.texts[number]]) == 1]


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

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
    # Fitted to all texts: it sees no label.
    return _out_of_fold(MultinomialNB(alpha=0.3), words.fit_transform(texts), labels_N)


def _of_characters(texts: Sequence[str], labels_N: NDArray[Any]) -> NDArray[Any]:
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import SGDClassifier

    characters = TfidfVectorizer(
        analyzer="char_wb",
        ngram_range=(2, 5),
        sublinear_tf=True,
        max_features=MAX_FEATURES,
        dtype=np.float32,
    )
    # A logistic regression with C = 2, by stochastic gradient descent: fast with many classes too.
    head = SGDClassifier(loss="log_loss", alpha=1 / (2 * len(texts)), random_state=0)
    return _out_of_fold(head, characters.fit_transform(texts), labels_N)


def _of_features(features_NLD: NDArray[Any], labels_N: NDArray[Any]) -> NDArray[Any]:
    """Return what a head says, with the penalty that fits the folds of some rows best."""
    from sklearn.linear_model import LogisticRegression

    inputs = features_NLD.reshape(len(features_NLD), -1)
    some, given = _some(labels_N)
    heads = [LogisticRegression(C=each, tol=1e-3, max_iter=500) for each in PENALTIES]
    if len(set(given.tolist())) < 2:  # all classes but one are too rare to be among them
        return _out_of_fold(heads[len(heads) // 2], inputs, labels_N)
    losses = [_loss(_out_of_fold(head, inputs[some], given), given) for head in heads]
    return _out_of_fold(heads[losses.index(min(losses))], inputs, labels_N)


def _combined(logs_MNC: NDArray[Any], labels_N: NDArray[Any]) -> NDArray[Any]:
    """Return the models' log probabilities as one, with the weights of the least log loss."""
    import numpy as np
    from scipy.optimize import minimize

    some = np.sort(np.random.default_rng(0).permutation(len(labels_N))[:MAX_CHOSEN_BY])
    given, labels = logs_MNC[:, some], labels_N[some]
    start = np.full(len(logs_MNC), 1 / len(logs_MNC))
    found = minimize(
        lambda weights: _loss(_normalized(np.tensordot(weights, given, 1)), labels),
        start,
        bounds=[(0, None)] * len(start),
    )
    return _normalized(np.tensordot(found.x, logs_MNC, 1))


def _some(labels_N: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the numbers of some rows, of classes with a row per fold, and their classes."""
    import numpy as np

    drawn = np.sort(np.random.default_rng(0).permutation(len(labels_N))[:MAX_CHOSEN_BY])
    _, classes, counts = np.unique(labels_N[drawn], return_inverse=True, return_counts=True)
    kept = drawn[counts[classes] >= NUM_FOLDS]
    return kept, np.unique(labels_N[kept], return_inverse=True)[1]


def _out_of_fold(model: Any, inputs: Any, labels_N: NDArray[Any]) -> NDArray[Any]:
    """Return the log probabilities of a model that is trained on the other folds, (N, C)."""
    import numpy as np
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(NUM_FOLDS, shuffle=True, random_state=0)
    found = cross_val_predict(model, inputs, labels_N, cv=folds, method="predict_proba")
    logs: NDArray[Any] = np.log(np.maximum(found, 1e-9))
    return logs


def _loss(logs_NC: NDArray[Any], labels_N: NDArray[Any]) -> float:
    import numpy as np

    return -float(logs_NC[np.arange(len(labels_N)), labels_N].mean())


def _says_more(logs_NC: NDArray[Any], labels_N: NDArray[Any]) -> bool:
    """Return whether the log loss is below that of guessing by the classes' shares.

    By more than two standard errors: the weights were fitted to these rows.
    """
    import numpy as np

    shares_C = np.bincount(labels_N) / len(labels_N)
    gains_N = logs_NC[np.arange(len(labels_N)), labels_N] - np.log(shares_C)[labels_N]
    return bool(gains_N.mean() > 2 * gains_N.std() / np.sqrt(len(gains_N)))


def _normalized(logs_NC: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    normalized: NDArray[Any] = logs_NC - np.logaddexp.reduce(logs_NC, axis=1, keepdims=True)
    return normalized
