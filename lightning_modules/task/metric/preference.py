"""Losses and rewards of pairs of answers, from the log-probabilities of the answers.

With x the prompt, y+ the chosen and y- the rejected answer, |y| its tokens, p the network, p0 the
reference, r(y) = log p(y|x) - log p0(y|x), and q(y) = log p(y|x) / |y|:

    dpo    -log sigmoid(beta (r(y+) - r(y-)))              Rafailov et al. 2023, arXiv:2305.18290
    ipo    (r(y+) / |y+| - r(y-) / |y-| - 1 / (2 beta))^2  Azar et al. 2023, arXiv:2310.12036
    simpo  -log sigmoid(beta (q(y+) - q(y-)) - gamma)      Meng et al. 2024, arXiv:2405.14734
    orpo   nll(x, y+) - beta log sigmoid(o(y+) - o(y-))    Hong et al. 2024, arXiv:2403.07691

`ipo` divides by the tokens, as TRL does by advice of its authors; beta is tau in the paper. In
`orpo`, o(y) = q(y) - log(1 - exp q(y)) are the log odds, nll is the mean loss of all tokens of
prompts and chosen answers of a batch, and beta is lambda in the paper.

The reward of an answer is beta r(y), or beta q(y) if there is no reference. By Bradley and Terry
(1952), sigmoid of the difference of two rewards is the probability that the first answer is better.

Shapes: B pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Loss(Enum):
    """A loss of pairs."""

    dpo = "dpo"
    """Direct preference optimization: the logistic loss of the implicit rewards' difference."""
    ipo = "ipo"
    """Identity preference optimization: pulls that difference to a constant."""
    orpo = "orpo"
    """Odds ratio preference optimization: with the loss of the chosen texts, and no reference."""
    simpo = "simpo"
    """Simple preference optimization: log-probabilities per token, without a reference."""

    @property
    def has_reference(self) -> bool:
        """Whether it compares the network with a reference."""
        return self in (Loss.dpo, Loss.ipo)


@dataclass(frozen=True)
class Answers:
    """The chosen, or the rejected, answers of a batch.

    Attributes:
        logp: Their log-probabilities (B,).
        num_tokens: Their tokens (B,).
        reference: Their log-probabilities under the reference (B,); None if there is none.

    """

    logp: Tensor
    num_tokens: Tensor
    reference: Tensor | None = None

    @property
    def log_ratio(self) -> Tensor:
        """r(y)."""
        assert self.reference is not None
        return self.logp - self.reference

    @property
    def mean(self) -> Tensor:
        """q(y)."""
        return self.logp / self.num_tokens

    def reward(self, beta: float) -> Tensor:
        """Return the rewards."""
        return beta * (self.mean if self.reference is None else self.log_ratio)


def pair_losses(
    loss: Loss, beta: float, simpo_gamma: float, chosen: Answers, rejected: Answers
) -> Tensor:
    """Return the loss of each pair (B,); that of `orpo` without its nll."""
    from torch.nn.functional import logsigmoid

    if loss is Loss.dpo:
        return -logsigmoid(beta * (chosen.log_ratio - rejected.log_ratio))
    if loss is Loss.ipo:
        ratios = [each.log_ratio / each.num_tokens for each in (chosen, rejected)]
        return (ratios[0] - ratios[1] - 1 / (2 * beta)).square()
    if loss is Loss.simpo:
        return -logsigmoid(beta * (chosen.mean - rejected.mean) - simpo_gamma)
    return -beta * logsigmoid(_log_odds(chosen.mean) - _log_odds(rejected.mean))


def _log_odds(logp: Tensor) -> Tensor:
    """Return log(p / (1 - p))."""
    import torch

    # log(1 - exp(x)), by the formula that is exact where x is (Mächler 2012). A p of 1 is infinite.
    near = torch.log(-torch.expm1(logp.clamp(min=-1.0, max=-1e-7)))
    far = torch.log1p(-torch.exp(logp.clamp(max=-0.5)))
    return logp - torch.where(logp > -0.6931, near, far)
