"""Scores of an answer: SQuAD's exact match and F1, each in [0, 1].

Both ignore case, punctuation, the articles a, an, the, and extra space. F1 compares bags of words;
with several correct answers, the best one counts. A question without an answer has the empty
answer, which only the empty answer matches.

Papers: Rajpurkar et al. 2016, arXiv:1606.05250; 2018, arXiv:1806.03822 (no answer).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLE = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """Return the normalized answer; equal answers have the same one.

    >>> normalize_answer("The  Beatles'")
    'beatles'
    """
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """Return 1 if the prediction is one of the answers, else 0; no answers means the empty one."""
    return float(normalize_answer(prediction) in _normalized(answers))


def f1(prediction: str, answers: Sequence[str]) -> float:
    """Return the best F1 of the words with one of the answers; no answers means the empty one.

    >>> f1("in Oslo", ["Oslo", "Norway"])
    0.6666666666666666
    """
    words = normalize_answer(prediction).split()
    return max(_f1(words, answer.split()) for answer in _normalized(answers))


def _normalized(answers: Sequence[str]) -> list[str]:
    # Answers with only articles and punctuation are dropped, as in the paper's own program.
    return [answer for answer in map(normalize_answer, answers) if answer] or [""]


def _f1(words: Sequence[str], answer: Sequence[str]) -> float:
    if not words or not answer:
        return float(words == answer)
    num_shared = (Counter(words) & Counter(answer)).total()
    return 2 * num_shared / (len(words) + len(answer))
