"""Summarization: write a short version of a long text.

Metrics: the F1 of ROUGE-1 and ROUGE-2 (shared words and pairs of words) and of ROUGE-L (longest
common subsequence), in [0, 1], computed by the package rouge-score with Porter's stemmer. If a row
has several references, each metric uses the best one.
Paper: Lin 2004, ROUGE: A Package for Automatic Evaluation of Summaries.
Example row: `{"document": "We train ... It helps.", "summary": "Training helps."}`; `summary` may
also be a list of references, the first of which is trained on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_modules.rows.corpus import Row
from lightning_modules.task.base import Baseline, Direction, Examples
from lightning_modules.task.text_to_text import TextToText, texts_of

if TYPE_CHECKING:
    from torch import Tensor

_ROUGE = ("rouge1", "rouge2", "rougeL")
_END_OF_SENTENCE = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, kw_only=True)
class Summarization(TextToText):
    """Summarization."""

    directions: ClassVar[Mapping[str, Direction]] = dict.fromkeys(_ROUGE, "maximize")
    written: ClassVar[str] = "summaries"

    def measure(self, texts: Sequence[str], references: Sequence[list[str]]) -> dict[str, float]:
        sums = dict.fromkeys(_ROUGE, 0.0)
        for text, of_row in zip(texts, references, strict=True):
            for name, found in _scorer().score_multi(of_row, text).items():
                sums[name] += found.fmeasure
        return {name: total / len(texts) for name, total in sums.items()}

    def row_values(
        self, observed: Mapping[str, Tensor], examples: Examples
    ) -> Sequence[float] | None:
        return [
            self.measure_row(text, examples.rows[row]["label"])
            for row, text in texts_of(observed, examples).items()
        ]

    def measure_row(self, text: str, references: list[str]) -> float:
        return float(_scorer().score_multi(references, text)[self.metric].fmeasure)

    def scoring(self, references: Sequence[list[str]]) -> dict[str, str]:
        from importlib.metadata import version

        num_references = max(map(len, references))
        how = f"F1, Porter's stemmer, best of {num_references} references"
        return {"rouge": f"rouge-score {version('rouge-score')}, {how}"}

    def baseline(self, rows: Sequence[Row]) -> Baseline:
        """Return the score of the first sentence."""
        texts = [first_sentence(row["text"]) for row in rows]
        score = self.measure(texts, [row["label"] for row in rows])[self.metric]
        return Baseline("the first sentence", score)

    def notes(self, splits: Mapping[str, Sequence[Row]]) -> Iterator[str]:
        yield from super().notes(splits)
        letters = [c for row in splits["validation"] for c in "".join(row["label"]) if c.isalpha()]
        share = sum(not letter.isascii() for letter in letters) / max(1, len(letters))
        if share > 0.01:
            yield f"ROUGE ignores letters outside a to z: {share:.0%} of the summaries' letters"


def first_sentence(text: str) -> str:
    """Return a text up to the first full stop, question mark or exclamation mark before a space.

    >>> first_sentence("It is 3.5 m long. It is red.")
    'It is 3.5 m long.'
    """
    return _END_OF_SENTENCE.split(text, maxsplit=1)[0]


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(_ROUGE), use_stemmer=True)
