"""From the scores of tokens to the best answer: spans of a window, answers of a question.

score(first, last) = start_score[first] + end_score[last], first <= last < first + A.

Every such span is looked at, so the best ones are exact. Cost: B * T * A sums.
Shapes: B windows, T tokens, A ends that a start may have, K spans kept.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_modules.error import ConfigError, Problem, Verbatim

if TYPE_CHECKING:
    from torch import Tensor


def check_places(tokenizer: Any, task: str) -> None:
    """Raise ConfigError where the tokenizer does not tell where in a text its tokens stand."""
    if not tokenizer.is_fast:
        rule = f"{task} must know which characters a token is made of"
        got = Verbatim(f"{type(tokenizer).__name__}, which does not tell")
        fix = "Take a model with a fast tokenizer, or strategy=from_scratch strategy.tokenizer=bpe."
        raise ConfigError(Problem("model", rule, got, fix))


@dataclass(frozen=True)
class Answer:
    """An answer.

    Attributes:
        start: Its first character in the context; None where there is no answer.
        end: The character behind its last one.
        score: Its probability among those that were kept, in [0, 1].

    """

    start: int | None
    end: int | None
    score: float

    def text(self, context: str) -> str:
        """Return it as the context has it."""
        return "" if self.start is None else context[self.start : self.end]


def best_spans(
    start_BT: Tensor, end_BT: Tensor, allowed_BT: Tensor, max_tokens: int, num_best: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return first token, last token and score of each window's best spans, each (B, K).

    Args:
        start_BT: Score of each token to be the first.
        end_BT: Score of each token to be the last.
        allowed_BT: Which tokens a span may begin and end at.
        max_tokens: Tokens of a span at most.
        num_best: Spans of a window; where it has fewer, the rest have score -inf.

    """
    import torch
    from torch.nn.functional import pad

    num_ends = min(max_tokens, start_BT.shape[1])
    start_BT = start_BT.masked_fill(~allowed_BT, -torch.inf)
    end_BT = end_BT.masked_fill(~allowed_BT, -torch.inf)
    ends_BTA = pad(end_BT, (0, num_ends - 1), value=-torch.inf).unfold(1, num_ends, 1)
    score_BS = (start_BT.unsqueeze(2) + ends_BTA).flatten(1)
    best = score_BS.topk(min(num_best, score_BS.shape[1]), dim=1)
    first_BK = best.indices // num_ends
    last_BK = (first_BK + best.indices % num_ends).clamp(max=start_BT.shape[1] - 1)
    return first_BK, last_BK, best.values


def best_answers(
    observed: Mapping[str, Tensor], num_rows: int, num_best: int, null_threshold: float | None
) -> list[Answer]:
    """Return the best answer of each row's windows.

    Args:
        observed: `row_B`, `start_BK` and `end_BK` in characters (< 0 for no span), `score_BK` and
            `null_B`.
        num_rows: How many rows there are.
        num_best: Answers of a row whose scores are weighed against each other.
        null_threshold: By how much the null score must exceed the best answer's for there to be
            none; None always answers.

    """
    kept: list[dict[tuple[int, int], float]] = [{} for _ in range(num_rows)]
    nulls: defaultdict[int, float] = defaultdict(lambda: math.inf)
    names = ("row_B", "start_BK", "end_BK", "score_BK", "null_B")
    windows = zip(*(observed[name].tolist() for name in names), strict=True)
    for row, starts, ends, scores, null in windows:
        # One window without the answer says nothing of the others.
        nulls[row] = min(nulls[row], null)
        spans = kept[row]
        for start, end, score in zip(starts, ends, scores, strict=True):
            if start >= 0:  # windows that overlap find the same
                spans[start, end] = max(score, spans.get((start, end), -math.inf))
    return [_best(kept[row], nulls[row], num_best, null_threshold) for row in range(num_rows)]


def _best(
    spans: Mapping[tuple[int, int], float], null: float, num_best: int, threshold: float | None
) -> Answer:
    ranked = sorted(spans.items(), key=lambda item: (-item[1], item[0]))[:num_best]
    if not ranked:
        return Answer(None, None, 1.0)
    (start, end), best = ranked[0]
    scores = [score for _, score in ranked] + ([] if threshold is None else [null])
    is_null = threshold is not None and null - best > threshold
    highest = max(scores)
    total = sum(math.exp(score - highest) for score in scores)
    share = math.exp((null if is_null else best) - highest) / total
    return Answer(None, None, share) if is_null else Answer(start, end, share)
