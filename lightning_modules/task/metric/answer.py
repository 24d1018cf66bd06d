"""Metrics of written answers against their references.

rouge1 and rougeL are the F1 of shared words and of longest common subsequences; words are stemmed
(Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries"). exact_match ignores space at
the ends. final_answer is the share of right final answers (`metric.final`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lightning_modules.task.metric.final import FINAL, finals

ROUGE = ("rouge1", "rougeL")
EXACT = "exact_match"
ANSWER_METRICS = (*ROUGE, EXACT, FINAL)


def answer_scores(
    written: Sequence[str], references: Sequence[str], pattern: str | None
) -> dict[str, float]:
    """Return every metric, the mean over the answers.

    Args:
        written: The answers.
        references: Their references.
        pattern: What finds final answers; None leaves `final_answer` out.

    """
    shared = _rouge(written, references)
    values = {name: [each[name] for each in shared] for name in ROUGE}
    values[EXACT] = _exact(written, references)
    if pattern is not None:
        values[FINAL] = finals(pattern, written, references)
    return {name: sum(each) / len(each) for name, each in values.items()}


def answer_values(
    metric: str, written: Sequence[str], references: Sequence[str], pattern: str | None
) -> list[float]:
    """Return each answer's value of one metric; arguments as of `answer_scores`."""
    if metric == FINAL:
        assert pattern is not None, "the metric needs it"
        return finals(pattern, written, references)
    if metric == EXACT:
        return _exact(written, references)
    return [each[metric] for each in _rouge(written, references)]


def _exact(written: Sequence[str], references: Sequence[str]) -> list[float]:
    pairs = zip(written, references, strict=True)
    return [float(text.strip() == right.strip()) for text, right in pairs]


def _rouge(written: Sequence[str], references: Sequence[str]) -> list[Mapping[str, float]]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(ROUGE, use_stemmer=True)
    found = [scorer.score(right, text) for text, right in zip(written, references, strict=True)]
    return [{name: each[name].fmeasure for name in ROUGE} for each in found]
