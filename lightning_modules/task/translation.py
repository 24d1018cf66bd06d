"""Translation: write a text in another language.

Metrics: corpus BLEU and chrF in [0, 100], computed by sacreBLEU; a row may have several
references. BLEU values are comparable only if their signatures are equal, so a run stores its
signature in `scoring.jsonl`.
Papers: Papineni et al. 2002 (BLEU); Popović 2015 (chrF); Post 2018, arXiv:1804.08771 (sacreBLEU).
Example row: `{"source": "A dog runs.", "target": "Ein Hund rennt."}`; `target` may also be a list
of references, the first of which is trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.rows.corpus import Row
from lightning_modules.task.base import Baseline, Direction
from lightning_modules.task.text_to_text import TextToText

# The tokenizers of sacreBLEU that need no extra package or download.
BLEU_TOKENIZERS = ("13a", "intl", "zh", "char", "none")
MIN_ROUND_TRIP = 90.0
"""Lowest useful BLEU of targets against themselves after encoding and decoding."""
NUM_TRIED = 200


@dataclass(frozen=True, kw_only=True)
class Translation(TextToText):
    """Translation.

    Attributes:
        bleu_tokenizer: How BLEU splits words: `13a` (sacreBLEU's default), `intl` (Unicode
            punctuation), `zh` (Chinese), `char` (characters) or `none` (at spaces).

    """

    bleu_tokenizer: str

    directions: ClassVar[Mapping[str, Direction]] = {"bleu": "maximize", "chrf": "maximize"}
    written: ClassVar[str] = "translations"

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        if self.bleu_tokenizer not in BLEU_TOKENIZERS:
            rule = f"must be one of {', '.join(BLEU_TOKENIZERS)}"
            yield Problem("bleu_tokenizer", rule, self.bleu_tokenizer)

    def measure(self, texts: Sequence[str], references: Sequence[list[str]]) -> dict[str, float]:
        by_place = _by_place(references)
        return {
            name: float(metric.corpus_score(texts, by_place).score)
            for name, metric in self._metrics().items()
        }

    def measure_row(self, text: str, references: list[str]) -> float:
        return float(
            self._metrics(for_one=True)[self.metric].sentence_score(text, references).score
        )

    def scoring(self, references: Sequence[list[str]]) -> dict[str, str]:
        metrics, by_place = self._metrics(), _by_place(references)
        for metric in metrics.values():  # a signature describes the last references scored
            metric.corpus_score([""] * len(references), by_place)
        return {name: str(metric.get_signature()) for name, metric in metrics.items()}

    def baseline(self, rows: Sequence[Row]) -> Baseline:
        """Return the score of copying the source."""
        texts = [row["text"] for row in rows]
        score = self.measure(texts, [row["label"] for row in rows])[self.metric]
        return Baseline("copying the source", score)

    def check_tokenizer(self, tokenizer: Any, targets: Sequence[str]) -> None:
        """Refuse a tokenizer that loses case or letters of the targets, e.g. an uncased one.

        The tokenizer decodes every generated text, so BLEU cannot exceed that of the targets
        after a round trip through the tokenizer.
        """
        tried = list(targets[:NUM_TRIED])
        back = [
            tokenizer.decode(tokens, skip_special_tokens=True)
            for tokens in tokenizer(text_target=tried)["input_ids"]
        ]
        # Effective orders only: texts of three words have no four-gram.
        bleu = self._metrics(for_one=True)["bleu"].corpus_score(back, [tried]).score
        if bleu >= MIN_ROUND_TRIP:
            return
        worst = next(i for i, target in enumerate(tried) if back[i] != target)
        rule = "its tokenizer must be able to write the targets"
        shown = f"{back[worst][:60]!r} for {tried[worst][:60]!r} (at most BLEU {bleu:.1f})"
        fix = (
            "Use a model for the language, e.g. model=t5, or train one with its own tokenizer: "
            "model=transformer strategy=from_scratch strategy.tokenizer=bpe."
        )
        raise ConfigError(Problem("model", rule, Verbatim(shown), fix))

    def _metrics(self, for_one: bool = False) -> dict[str, Any]:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF

        # A single sentence seldom has a correct four-gram: sacreBLEU's sentence score uses only
        # the n-gram orders that the sentence has.
        bleu = BLEU(tokenize=self.bleu_tokenizer, effective_order=for_one)
        return {"bleu": bleu, "chrf": CHRF()}


def _by_place(references: Sequence[list[str]]) -> list[list[str | None]]:
    """Return all first references, all second ones and so on; None if a row has fewer.

    >>> _by_place([["a", "b"], ["c"]])
    [['a', 'c'], ['b', None]]
    """
    most = max(map(len, references))
    return [[each[i] if i < len(each) else None for each in references] for i in range(most)]
