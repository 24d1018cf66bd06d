"""Translation: the same text in another language.

Metrics: BLEU and chrF over all rows together, in [0, 100], as sacreBLEU counts them; a row may
have several references. BLEU values compare only where their signatures are equal, so a run keeps
its own in `scoring.jsonl`.
Papers: Papineni et al. 2002 (BLEU); Popović 2015 (chrF); Post 2018, arXiv:1804.08771 (sacreBLEU).
Example row: `{"source": "A dog runs.", "target": "Ein Hund rennt."}`; `target` may also be a list
of references, of which the first is trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.rows.corpus import Row
from lightning_modules.task.base import Baseline, Direction
from lightning_modules.task.text_to_text import TextToText

# Those of sacreBLEU that need no package or download of their own.
BLEU_TOKENIZERS = ("13a", "intl", "zh", "char", "none")
MIN_ROUND_TRIP = 90.0
"""BLEU of targets that only went through the tokenizer, below which it is of no use."""
NUM_TRIED = 200


@dataclass(frozen=True, kw_only=True)
class Translation(TextToText):
    """Translation.

    Attributes:
        bleu_tokenizer: What BLEU counts as words: `13a` (sacreBLEU's default), `intl` (Unicode's
            punctuation), `zh` (Chinese), `char` (characters) or `none` (between spaces).

    """

    bleu_tokenizer: str

    directions: ClassVar[Mapping[str, Direction]] = {"bleu": "maximize", "chrf": "maximize"}

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
        for metric in metrics.values():  # a signature tells of the references scored last
            metric.corpus_score([""] * len(references), by_place)
        return {name: str(metric.get_signature()) for name, metric in metrics.items()}

    def baseline(self, rows: Sequence[Row]) -> Baseline:
        """Return what copying the source has."""
        texts = [row["text"] for row in rows]
        score = self.measure(texts, [row["label"] for row in rows])[self.metric]
        return Baseline("copying the source", score)

    def check_tokenizer(self, tokenizer: Any, targets: Sequence[str]) -> None:
        """Refuse a tokenizer that drops case or letters of the targets, as an uncased English one.

        Whatever a network learns, its texts come out of the tokenizer: BLEU can be no higher than
        that of the targets themselves after a way in and out of it.
        """
        tried = list(targets[:NUM_TRIED])
        back = [
            tokenizer.decode(tokens, skip_special_tokens=True)
            for tokens in tokenizer(text_target=tried)["input_ids"]
        ]
        # The orders that there are: texts of three words have no four-gram.
        bleu = self._metrics(for_one=True)["bleu"].corpus_score(back, [tried]).score
        if bleu >= MIN_ROUND_TRIP:
            return
        worst = next(i for i, target in enumerate(tried) if back[i] != target)
        rule = "its tokenizer must be able to write the targets"
        shown = f"{back[worst][:60]!r} for {tried[worst][:60]!r}, BLEU {bleu:.1f} at most"
        fix = (
            "Take a model of the language, as model=t5, or train one with a tokenizer of its own: "
            "model=transformer strategy=from_scratch strategy.tokenizer=bpe."
        )
        raise ConfigError(Problem("model", rule, Verbatim(shown), fix))

    def _metrics(self, for_one: bool = False) -> dict[str, Any]:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF

        # A single sentence seldom has a four-gram right: sacreBLEU's own sentence score counts
        # the orders that the sentence has.
        bleu = BLEU(tokenize=self.bleu_tokenizer, effective_order=for_one)
        return {"bleu": bleu, "chrf": CHRF()}


def _by_place(references: Sequence[list[str]]) -> list[list[str | None]]:
    """Return all first references, all second ones and so on, None where a row has no such.

    >>> _by_place([["a", "b"], ["c"]])
    [['a', 'c'], ['b', None]]
    """
    most = max(map(len, references))
    return [[each[i] if i < len(each) else None for each in references] for i in range(most)]
