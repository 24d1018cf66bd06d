from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.lora import dora
from torch import Tensor, nn

from lightning_modules.model.mode import evaluating, switch
from lightning_modules.module import FineTuner
from lightning_modules.run import Run
from tests.training import tiny_run, train


class Keeping(nn.Linear):
    """Keeps in evaluation mode what it computed of its weights, until it trains again."""

    kept: Tensor | None = None

    def train(self, mode: bool = True) -> Keeping:
        if mode:
            self.kept = None
        return super().train(mode)

    def forward(self, input: Tensor) -> Tensor:
        if self.training:
            return super().forward(input)
        if self.kept is None:
            self.kept = 2 * self.weight.detach()
        return input @ self.kept.T / 2 + self.bias


class Frozen(nn.Sequential):
    """Stays in evaluation mode, as frozen statistics do."""

    def train(self, mode: bool = True) -> Frozen:
        return super().train(False)


def modes(network: nn.Module) -> list[bool]:
    return [module.training for module in network.modules()]


def test_a_class_notices_that_its_network_trains_again() -> None:
    network = nn.Sequential(nn.Dropout(), Keeping(3, 3))
    inputs = torch.rand(2, 3)
    for _ in range(2):
        with evaluating(network):
            expected = inputs @ network[1].weight.T + network[1].bias
            torch.testing.assert_close(network(inputs), expected)
            assert network[1].kept is not None
        assert network[1].kept is None
        with torch.no_grad():
            network[1].weight.add_(1.0)


def test_each_module_gets_its_own_mode_back() -> None:
    network = nn.Sequential(nn.Dropout(), Keeping(3, 3), Frozen(nn.Dropout()), nn.Dropout())
    network.train()
    network[3].eval()
    network[2][0].training = True  # not what its own class would choose
    before = modes(network)
    assert set(before) == {True, False}
    for training in (False, True):
        restore = switch(network, training=training)
        assert modes(network)[:3] == [training] * 3
        restore()
        assert modes(network) == before
    network.eval()
    network[1].train()
    with evaluating(network):
        network(torch.rand(2, 3))
    assert modes(network) == [False, False, True, False, False, False]
    assert network[1].kept is None


@pytest.fixture
def make_run(learnable: Path) -> Callable[..., Run]:
    return partial(tiny_run, learnable)


def test_dora_keeps_no_norms_from_one_validation_to_the_next(
    make_run: Callable[..., Run], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dora, "ENABLE_DORA_CACHING", True)
    kept: list[tuple[str, set[bool]]] = []

    def layers(tuner: FineTuner) -> list[Any]:
        return [each for each in tuner.modules() if isinstance(each, dora.DoraLinearLayer)]

    def see(tuner: FineTuner, name: str) -> None:
        assert tuner.training == (name == "a step")
        kept.append((name, {bool(each._dora_cache) for each in layers(tuner)}))

    validate, step = FineTuner._validate, FineTuner._step

    def then_see(tuner: FineTuner, batch: Any) -> None:
        validate(tuner, batch)
        see(tuner, "a validation")

    def see_first(tuner: FineTuner, batch: Any) -> None:
        see(tuner, "a step")
        step(tuner, batch)

    monkeypatch.setattr(FineTuner, "_validate", then_see)
    monkeypatch.setattr(FineTuner, "_step", see_first)
    words = ("strategy=lora", "strategy.dora=true", "trainer.epochs=1", "trainer.precision=fp32")
    train(make_run(*words), here / "run")
    assert {name for name, _ in kept} == {"a validation", "a step"}
    assert all(found == {name == "a validation"} for name, found in kept)
    names = [name for name, _ in kept]
    assert "a step" in names[names.index("a validation") :]
