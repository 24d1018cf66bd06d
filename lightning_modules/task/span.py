"""Extract answers from token scores: the best spans of a window, the best answer to a question.

score(first, last) = start_score[first] + end_score[last], first <= last < first + A.

All such spans are compared, so the best ones are exact. Cost: B * T * A sums.
Shapes: B windows, T tokens, A possible ends per start, K spans kept.
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


def check_offsets(tokenizer: Any, task: str) -> None:
    """Raise ConfigError if the tokenizer does not report the position of tokens in a text."""
    if not tokenizer.is_fast:
        rule = f"{task} must know which characters belong to each token"
        got = Verbatim(f"{type(tokenizer).__name__}, which does not report them")
        fix = "Use a model with a fast tokenizer, or strategy=from_scratch strategy.tokenizer=bpe."
        raise ConfigError(Problem("model", rule, got, fix))


@dataclass(frozen=True)
class Answer:
    """An answer.

    Attributes:
        start: Index of its first character in the context; None for no answer.
        end: Index after its last character; None for no answer.
        score: Its probability among the answers that were kept, in [0, 1].

    """

    start: int | None
    end: int | None
    score: float

    def text(self, context: str) -> str:
        """Return the text of the answer; empty for no answer."""
        return "" if self.start is None else context[self.start : self.end]


def best_spans(
    start_BT: Tensor, end_BT: Tensor, allowed_BT: Tensor, max_tokens: int, num_best: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return first token, last token and score of each window's best spans, each (B, K).

    Args:
        start_BT: Score of each token as the first of a span.
        end_BT: Score of each token as the last of a span.
        allowed_BT: Whether a span may start or end at each token.
        max_tokens: Most tokens in a span.
        num_best: Spans per window; if there are fewer, the rest have score -inf.

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
    """Return the best answer over each row's windows.

    Args:
        observed: `row_B`, `start_BK` and `end_BK` in characters (< 0 for no span), `score_BK` and
            `null_B`.
        num_rows: Number of rows.
        num_best: Answers per row among which the probabilities are normalized.
        null_threshold: The row has no answer if its null score exceeds the best answer's score by
            more than this; None always answers.

    """
    kept: list[dict[tuple[int, int], float]] = [{} for _ in range(num_rows)]
    nulls: defaultdict[int, float] = defaultdict(lambda: math.inf)
    names = ("row_B", "start_BK", "end_BK", "score_BK", "null_B")
    windows = zip(*(observed[name].tolist() for name in names), strict=True)
    for row, starts, ends, scores, null in windows:
        # A row has no answer only if none of its windows has one.
        nulls[row] = min(nulls[row], null)
        spans = kept[row]
        for start, end, score in zip(starts, ends, scores, strict=True):
            if start >= 0:  # overlapping windows find the same span
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
