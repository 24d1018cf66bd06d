from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from lightning_modules.batch.type import IGNORED
from lightning_modules.task.span import Answer, best_answers, best_spans


@pytest.mark.parametrize("max_tokens", [1, 3, 50])
@pytest.mark.parametrize("num_best", [1, 4, 1000])
def test_the_best_spans_are_the_best_of_all_spans(max_tokens: int, num_best: int) -> None:
    rng = torch.Generator().manual_seed(0)
    start_BT, end_BT = torch.randn(2, 5, 12, generator=rng)
    allowed_BT = torch.rand(5, 12, generator=rng) > 0.3
    found = best_spans(start_BT, end_BT, allowed_BT, max_tokens, num_best)
    for row in range(5):
        every = {
            (first, last): (start_BT[row, first] + end_BT[row, last]).item()
            for first in range(12)
            for last in range(first, min(12, first + max_tokens))
            if allowed_BT[row, first] and allowed_BT[row, last]
        }
        best = sorted(every, key=lambda span: -every[span])[:num_best]
        firsts, lasts, scores = (tensor[row].tolist() for tensor in found)
        there = [score for score in scores if not math.isinf(score)]
        assert list(zip(firsts, lasts, strict=True))[: len(there)] == best
        assert there == pytest.approx([every[span] for span in best])


def observed(*windows: tuple[int, list[tuple[int, int, float]], float]) -> dict[str, torch.Tensor]:
    rows, spans, nulls = zip(*windows, strict=True)
    starts, ends, scores = (
        torch.tensor([[span[at] for span in each] for each in spans]) for at in range(3)
    )
    return {
        "row_B": torch.tensor(rows),
        "start_BK": starts,
        "end_BK": ends,
        "score_BK": scores.float(),
        "null_B": torch.tensor(nulls),
    }


NOTHING = (IGNORED, IGNORED, float(IGNORED))
WINDOWS = observed(
    (1, [(40, 45, 3.0), (40, 42, 1.0)], -1.0),
    (0, [(0, 4, 1.0), NOTHING], 4.0),
    (1, [(40, 45, 2.0), (60, 61, 0.0)], 9.0),
)


def test_the_answer_is_the_best_of_all_windows() -> None:
    first, second = best_answers(WINDOWS, 2, 20, None)
    assert first == Answer(0, 4, 1.0)
    # A span from two windows counts once, with its better score.
    assert second.score == pytest.approx(math.exp(3) / (math.exp(3) + math.exp(1) + math.exp(0)))
    assert (second.start, second.end) == (40, 45)


def test_probabilities_are_normalized_over_the_best_answers() -> None:
    _, second = best_answers(WINDOWS, 2, 2, None)
    assert second.score == pytest.approx(math.exp(3) / (math.exp(3) + math.exp(1)))


@pytest.mark.parametrize(("threshold", "answered"), [(2.9, False), (3.1, True)])
def test_the_null_score_must_exceed_the_best_score_by_the_threshold(
    threshold: float, answered: bool
) -> None:
    first, second = best_answers(WINDOWS, 2, 20, threshold)
    assert first.start == (0 if answered else None)
    share = math.exp(1 if answered else 4) / (math.exp(1) + math.exp(4))
    assert first.score == pytest.approx(share)
    # One window without an answer does not mean that the row has none.
    assert second.start == 40


def test_a_context_without_tokens_has_no_answer() -> None:
    nothing: Any = observed((0, [NOTHING], 1.0))
    (answer,) = best_answers(nothing, 1, 20, None)
    assert answer == Answer(None, None, 1.0)
    assert answer.text("\ufe0f") == ""
