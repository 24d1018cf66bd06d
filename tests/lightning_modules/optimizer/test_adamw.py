from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from lightning_modules.error import ConfigError
from lightning_modules.optimizer.adamw import Adamw, fused


def adamw(**changes: Any) -> Adamw:
    values = {"lr": 0.01, "weight_decay": 0.1, "beta1": 0.8, "beta2": 0.95, "eps": 1e-6}
    return Adamw(**{**values, **changes})


def network() -> nn.Sequential:
    return nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))


def test_only_matrices_are_decayed() -> None:
    groups = adamw().build(network()).param_groups
    decay_by_ndim = {
        parameter.ndim: group["weight_decay"] for group in groups for parameter in group["params"]
    }
    assert decay_by_ndim == {2: 0.1, 1: 0.0}


def test_groups_contain_each_trainable_parameter_once() -> None:
    net = network()
    net[0].requires_grad_(False)
    groups = adamw().build(net).param_groups
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in net.parameters() if p.requires_grad)


def test_settings_reach_torch() -> None:
    optimizer = adamw().build(network())
    assert isinstance(optimizer, torch.optim.AdamW)
    for group in optimizer.param_groups:
        assert (group["lr"], group["betas"], group["eps"]) == (0.01, (0.8, 0.95), 1e-6)


def test_training_only_vectors_makes_one_group() -> None:
    net = network()
    for parameter in net.parameters():
        parameter.requires_grad_(parameter.ndim == 1)
    (group,) = adamw().build(net).param_groups
    assert group["weight_decay"] == 0


def test_weight_decay_shrinks_matrices_but_not_vectors() -> None:
    net = nn.Linear(3, 2)
    weight, bias = net.weight.detach().clone(), net.bias.detach().clone()
    optimizer = adamw(lr=0.5, weight_decay=0.1).build(net)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(net.weight.detach(), weight * (1 - 0.5 * 0.1))
    assert torch.equal(net.bias.detach(), bias)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("lr", 0), ("lr", -1), ("eps", 0)),
        *(("weight_decay", -0.1), ("weight_decay", 1)),
        *(("beta1", 1), ("beta2", 1), ("beta2", -0.1)),
    ],
)
def test_invalid_values_are_refused(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^{field}: must be "):
        adamw(**{field: value})


def test_weights_on_a_gpu_are_updated_by_one_kernel() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 1)
    assert fused([gpu, gpu]) is True
    assert fused([cpu]) is fused([gpu, cpu]) is fused([]) is None
    assert [group["fused"] for group in adamw().build(network()).param_groups] == [None, None]
