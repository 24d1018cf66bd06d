"""Scores of pairs of answers, given the reward of each: Bradley and Terry 1952.

The probability that the first of two answers is better is sigmoid(reward - other reward).
Shapes: B pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightning_modules.task.base import NUM_MISTAKES, Baseline, Direction
from lightning_modules.text.pair import Pair

if TYPE_CHECKING:
    from torch import Tensor

DIRECTIONS: Mapping[str, Direction] = {
    "reward_accuracy": "maximize",
    "reward_margin": "maximize",
    "reward_chosen": "maximize",
    "reward_rejected": "minimize",
    "log_loss": "minimize",
    "brier": "minimize",
    "loss": "minimize",
}
_OF_COIN = {
    "reward_accuracy": 0.5,
    "reward_margin": 0.0,
    "log_loss": math.log(2),
    "brier": 0.25,
}


def pair_scores(chosen_B: Tensor, rejected_B: Tensor, loss_B: Tensor) -> dict[str, Tensor]:
    """Return every score of each pair, from the rewards and the losses; a tie is half right."""
    from torch.nn.functional import softplus

    chosen, rejected = chosen_B.double(), rejected_B.double()
    margin = chosen - rejected
    return {
        "reward_accuracy": (margin.sign() + 1) / 2,
        "reward_margin": margin,
        "reward_chosen": chosen,
        "reward_rejected": rejected,
        "log_loss": softplus(-margin),
        "brier": (-margin).sigmoid().square(),
        "loss": loss_B.double(),
    }


def mistakes(observed: Mapping[str, Tensor], pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Return the pairs whose rejected answer has at least the reward of the other, worst first."""
    chosen, rejected = (observed[f"reward_{name}_B"].tolist() for name in ("chosen", "rejected"))
    margins = [one - other for one, other in zip(chosen, rejected, strict=True)]
    wrong = sorted((margin, at) for at, margin in enumerate(margins) if margin <= 0)
    return [
        {
            **dict(zip(("prompt", "chosen", "rejected"), pairs[at].texts, strict=True)),
            "reward_chosen": round(chosen[at], 6),
            "reward_rejected": round(rejected[at], 6),
        }
        for _, at in wrong[:NUM_MISTAKES]
    ]


def guess(metric: str, answers: Sequence[Sequence[str]] = ()) -> Baseline | None:
    """Return the score of a coin, or of choosing by length; None if the metric has neither.

    Args:
        metric: The metric.
        answers: The chosen and the rejected answer of each pair, to choose by length; none is a
            coin.

    """
    if metric == "reward_accuracy" and answers:
        longer = sum(0.5 + _sign(len(a) - len(b)) / 2 for a, b in answers) / len(answers)
        word, share = ("longer", longer) if longer >= 0.5 else ("shorter", 1 - longer)
        return Baseline(f"always the {word} answer", share)
    score = _OF_COIN.get(metric)
    return None if score is None else Baseline("a coin", score)


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)
