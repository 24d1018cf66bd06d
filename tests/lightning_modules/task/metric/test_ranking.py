from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import ndcg_score

from lightning_modules.task.metric import ranking
from lightning_modules.task.metric.ranking import VALUES, expected, ranks


def unit(*shape: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape), dim=-1)


def test_a_rank_counts_the_nearer_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    texts_ND, candidates_MD = unit(30, 8), unit(50, 8)
    right = [row * 7 % 50 for row in range(30)]
    found = ranks(texts_ND, candidates_MD, right, [[]] * 30)
    cosines_NM = texts_ND @ candidates_MD.T
    order_NM = cosines_NM.argsort(dim=1, descending=True)
    for row in range(30):
        assert found[row] == order_NM[row].tolist().index(right[row]) + 1
    # ndcg over 10 is scikit-learn's, with one right candidate.
    truth_NM = torch.zeros(30, 50)
    truth_NM[range(30), right] = 1
    reference = ndcg_score(truth_NM.numpy(), cosines_NM.numpy(), k=10)
    assert VALUES["ndcg_10"](found).mean().item() == pytest.approx(reference, abs=1e-6)
    monkeypatch.setattr(ranking, "AT_ONCE", 7)
    assert ranks(texts_ND, candidates_MD, right, [[]] * 30).equal(found)


def test_other_right_candidates_are_left_out() -> None:
    candidates_MD = torch.eye(3)
    texts_ND = torch.tensor([[0.6, 0.8, 0.0]])
    assert ranks(texts_ND, candidates_MD, [0], [[]]).tolist() == [2]
    assert ranks(texts_ND, candidates_MD, [0], [[1]]).tolist() == [1]


def test_equal_vectors_rank_in_the_middle() -> None:
    """So a network that says the same of every text is no better than a random order."""
    found = ranks(torch.ones(5, 1), torch.ones(5, 1), list(range(5)), [[]] * 5)
    assert found.tolist() == [3] * 5


def test_the_values_of_a_rank() -> None:
    at = torch.tensor([1.0, 2.0, 10.0, 11.0]).double()
    assert VALUES["mrr"](at).tolist() == [1, 0.5, 0.1, 1 / 11]
    assert VALUES["recall_1"](at).tolist() == [1, 0, 0, 0]
    assert VALUES["recall_10"](at).tolist() == [1, 1, 1, 0]
    assert VALUES["ndcg_10"](at).tolist() == pytest.approx(
        [1, 1 / math.log2(3), 1 / math.log2(11), 0]
    )


def test_a_random_order() -> None:
    assert expected("recall_10", 40) == pytest.approx(0.25)
    assert expected("mrr", 3) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
