from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn

from lightning_modules.error import ConfigError
from lightning_modules.optimizer.adamw import Adamw


def adamw(**changes: Any) -> Adamw:
    values = {
        "lr": 0.01,
        "weight_decay": 0.1,
        "beta1": 0.8,
        "beta2": 0.95,
        "eps": 1e-6,
        "fused": True,
    }
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


def test_weights_on_one_device_are_updated_by_one_kernel() -> None:
    cpu, gpu, mps = torch.device("cpu"), torch.device("cuda", 1), torch.device("mps")
    assert adamw()._fused([gpu, gpu]) is adamw()._fused([cpu, cpu]) is True
    for devices in ([gpu, cpu], [mps], []):
        assert adamw()._fused(devices) is None
    # As in the runs that began before CPUs had the kernel.
    assert adamw(fused=False)._fused([gpu]) is True
    assert adamw(fused=False)._fused([cpu]) is None
    assert [group["fused"] for group in adamw().build(network()).param_groups] == [True, True]
    (loop, _) = adamw(fused=False).build(network()).param_groups
    assert loop["fused"] is None


def steps(net: nn.Module, optimizer: torch.optim.Optimizer, seeds: range) -> None:
    for seed in seeds:
        torch.manual_seed(seed)
        for parameter in net.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()


def test_the_kernel_updates_like_torchs_loop() -> None:
    looped, net = network(), network()
    net.load_state_dict(looped.state_dict())
    loop = adamw(fused=False).build(looped)
    kernel = adamw().build(net)
    steps(looped, loop, range(20))
    steps(net, kernel, range(20))
    torch.testing.assert_close(net.state_dict(), looped.state_dict(), rtol=1e-5, atol=1e-6)


def test_a_run_that_began_with_the_loop_resumes_with_the_same_bits() -> None:
    looped, net = network(), network()
    loop = adamw(fused=False).build(looped)
    steps(looped, loop, range(3))
    net.load_state_dict(looped.state_dict())
    resumed = adamw().build(net)
    resumed.load_state_dict(deepcopy(loop.state_dict()))  # else they share the moments
    steps(looped, loop, range(3, 6))
    steps(net, resumed, range(3, 6))
    for name, value in net.state_dict().items():
        assert torch.equal(value, looped.state_dict()[name])
