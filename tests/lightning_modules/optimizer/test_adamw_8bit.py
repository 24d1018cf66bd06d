from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

from lightning_modules.check import check_fit
from lightning_modules.error import ConfigError
from lightning_modules.model.state import num_bytes_of
from lightning_modules.optimizer.adamw import Adamw
from lightning_modules.optimizer.adamw_8bit import Adamw8bit
from lightning_modules.optimizer.base import Optimizer
from lightning_modules.outcome import Ending
from tests.cut import assert_cut_is_whole
from tests.training import tiny_run, train

SETTINGS = {"lr": 0.01, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
# Wide enough for tensors of more than 4,096 values.
WIDE = ("model.width=64", "optimizer=adamw_8bit", "trainer.epochs=2")

needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="needs bitsandbytes"
)


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_a_missing_package_is_named_with_the_fix(learnable: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        check_fit(tiny_run(learnable, "optimizer=adamw_8bit"), None)
    assert str(caught.value) == (
        "optimizer: optimizer=adamw_8bit needs bitsandbytes, got no such package. "
        "Run pip install bitsandbytes, or set optimizer=adamw."
    )


def test_a_run_that_does_not_train_needs_no_optimizer(learnable: Path) -> None:
    words = ("strategy=prompting", "model=minilm", "optimizer=adamw_8bit")
    check_fit(tiny_run(learnable, *words), None)


def stepped(optimizer: Optimizer, num_steps: int = 3) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 256), nn.LayerNorm(256), nn.Linear(256, 64))
    made = optimizer.build(network)
    for _ in range(num_steps):
        network(torch.randn(8, 64)).square().sum().backward()
        made.step()
        made.zero_grad()
    return network, made


@needs_bitsandbytes
def test_its_moments_take_two_bytes_per_value() -> None:
    network, made = stepped(Adamw8bit(**SETTINGS))
    num_values = sum(each.numel() for each in network.parameters())
    # The tables of 256 values are shared by all tensors, and belong to each one's state.
    tables = 2 * 4 * 256 * 2
    assert num_bytes_of(made.state_dict()["state"]) - tables < 2.2 * num_values
    _, whole = stepped(Adamw(**SETTINGS, fused=True))
    assert num_bytes_of(whole.state_dict()["state"]) > 8 * num_values


@needs_bitsandbytes
def test_its_steps_are_close_to_those_of_adamw() -> None:
    (found, made), (wanted, _) = (
        stepped(Adamw8bit(**SETTINGS)),
        stepped(Adamw(**SETTINGS, fused=True)),
    )
    for one, other in zip(found.parameters(), wanted.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=3e-3, rtol=0)
    decays = {group["weight_decay"]: len(group["params"]) for group in made.param_groups}
    assert decays == {0.1: 2, 0.0: 4}


@needs_bitsandbytes
@pytest.mark.thorough
def test_it_learns_and_a_stopped_run_resumes_bit_for_bit(learnable: Path, here: Path) -> None:
    outcome = train(tiny_run(learnable, *WIDE, "trainer.epochs=8"), here / "run")
    assert outcome.ending is Ending.finished and outcome.best is not None
    assert outcome.best.metrics["accuracy"] > 0.9
    assert_cut_is_whole(tiny_run(learnable, *WIDE), here, step=5)
