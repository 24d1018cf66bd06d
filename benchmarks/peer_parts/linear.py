"""A linear model on frozen features or on TF-IDF, its regularization chosen by cross-validation.

    python -m peer_parts.linear frozen MODEL SEED
    python -m peer_parts.linear tfidf MODEL SEED

Trains on all rows of `rows.jsonl`, and writes the labels of `heldout.jsonl` to `labels.json`. The
features are the means of MiniLM's outputs, as sentence-transformers takes them; TF-IDF is of words
and pairs of words.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from peer_parts.clever import features_of, read
from sklearn.linear_model import LogisticRegressionCV

NUM_STRENGTHS, NUM_FOLDS = 10, 5


def main(kind: str, location: str, seed: int) -> None:
    """Train and predict."""
    rows, others = read(Path("rows.jsonl")), read(Path("heldout.jsonl"))
    texts = [[row["text"] for row in each] for each in (rows, others)]
    train, held_out = frozen(location, *texts) if kind == "frozen" else tfidf(*texts)
    model = LogisticRegressionCV(
        Cs=NUM_STRENGTHS, cv=NUM_FOLDS, max_iter=2000, random_state=seed
    ).fit(train, [row["label"] for row in rows])
    labels = [str(label) for label in model.predict(held_out)]
    Path("labels.json").write_text(json.dumps(labels), encoding="utf-8")


def frozen(location: str, train: list[str], held_out: list[str]) -> tuple[Any, Any]:
    """Return the frozen model's features of both."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(location), AutoModel.from_pretrained(location)
    features = features_of(model, tokenizer, [*train, *held_out]).numpy()
    return features[: len(train)], features[len(train) :]


def tfidf(train: list[str], held_out: list[str]) -> tuple[Any, Any]:
    """Return the weights of words and pairs of words in both."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    return vectorizer.fit_transform(train), vectorizer.transform(held_out)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
