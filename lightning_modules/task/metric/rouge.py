"""Scores of texts against references, and the entropy of their characters."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence


def rouge(written: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Return the mean F1 of shared words (rouge1) and of longest common subsequences (rougeL).

    Paper: Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries"; words are stemmed.
    """
    from rouge_score.rouge_scorer import RougeScorer

    names = ("rouge1", "rougeL")
    scorer = RougeScorer(names, use_stemmer=True)
    found = [scorer.score(right, text) for text, right in zip(written, references, strict=True)]
    return {name: sum(each[name].fmeasure for each in found) / len(found) for name in names}


def exact_match(written: Sequence[str], references: Sequence[str]) -> float:
    """Return the share of texts that equal their references, ignoring space at the ends."""
    pairs = list(zip(written, references, strict=True))
    return sum(text.strip() == right.strip() for text, right in pairs) / len(pairs)


def shares_entropy(texts: Sequence[str] | Sequence[bytes] | Sequence[Sequence[int]]) -> float:
    """Return the entropy of the texts' characters, bytes or tokens, in nats for each of them.

    >>> round(shares_entropy(["ab", "ba"]), 4)
    0.6931
    """
    counts: Counter[str | int] = Counter()
    for text in texts:
        counts.update(text)
    total = sum(counts.values())
    return -sum(count / total * math.log(count / total) for count in counts.values())
