from __future__ import annotations

import pytest
import torch

from lightning_modules.optimizer.clip import clip_gradients


@pytest.mark.parametrize("max_norm", [None, 1.0, 100.0])
def test_gradients_are_scaled_to_the_norm_and_their_own_is_returned(max_norm: float | None) -> None:
    one, other, unused = (torch.nn.Parameter(torch.zeros(n)) for n in (2, 1, 3))
    optimizer = torch.optim.SGD([{"params": [one, unused]}, {"params": [other]}], lr=1.0)
    one.grad, other.grad = torch.tensor([3.0, 0.0]), torch.tensor([4.0])
    norm = clip_gradients(optimizer, max_norm)
    assert norm.item() == 5.0
    factor = 1 / 5 if max_norm == 1.0 else 1.0
    assert torch.allclose(one.grad, factor * torch.tensor([3.0, 0.0]), atol=1e-5)
    assert torch.allclose(other.grad, factor * torch.tensor([4.0]), atol=1e-5)
