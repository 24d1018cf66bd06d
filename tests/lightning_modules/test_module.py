from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_modules.folder import BEST_FILE
from lightning_modules.model.dropout import disable_dropout
from lightning_modules.module import FineTuner
from lightning_modules.optimizer.base import Optimizer
from lightning_modules.outcome import Ending
from lightning_modules.run import Run
from lightning_modules.strategy.base import Strategy
from tests.cut import StopAt
from tests.training import Listener, tiny_run, train


@pytest.fixture
def make_run(learnable: Path) -> Callable[..., Run]:
    return partial(tiny_run, learnable)


@dataclass(frozen=True, kw_only=True)
class NoDropout(Strategy):
    """Without dropout the gradient is a function of the batch alone."""

    def adapt(self, network: Any) -> Any:
        disable_dropout(network)
        return network


@dataclass(frozen=True, kw_only=True)
class Recording(Optimizer):
    """Never changes the parameters, and records the gradients of each step."""

    steps: list[list[Tensor]] = field(default_factory=list)

    def build(self, network: nn.Module) -> torch.optim.Optimizer:
        return _RecordingOptimizer(network.parameters(), self.steps)


class _RecordingOptimizer(torch.optim.Optimizer):
    def __init__(self, parameters: Any, steps: list[list[Tensor]]) -> None:
        super().__init__(parameters, {"lr": 1.0})
        self.recorded = steps

    def step(self, closure: Any = None) -> None:
        parameters = self.param_groups[0]["params"]
        self.recorded.append([p.grad.clone() for p in parameters if p.grad is not None])


def gradients(run: Run, folder: Path) -> list[list[Tensor]]:
    """Return the gradients of each optimizer step, by parameter."""
    optimizer = Recording(lr=1.0)
    values = {each.name: getattr(run.strategy, each.name) for each in fields(Strategy)}
    train(replace(run, strategy=NoDropout(**values), optimizer=optimizer), folder)
    return optimizer.steps


def test_micro_batches_of_any_size_give_the_same_gradients(
    make_run: Callable[..., Run], here: Path
) -> None:
    words = (
        "trainer.max_steps=2",
        "trainer.max_grad_norm=null",
        "task.class_weights={positive: 5}",
    )
    whole = gradients(make_run(*words), here / "whole")
    assert len(whole) == 2 and len(whole[0]) > 10
    assert any(gradient.abs().max() > 1e-3 for gradient in whole[0])
    for size in (1, 5, 17):
        split = gradients(make_run(*words, f"trainer.micro_batch_size={size}"), here / f"{size}")
        for expected, actual in zip(whole, split, strict=True):
            for one, other in zip(expected, actual, strict=True):
                torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_validations_are_in_evaluation_mode_and_the_steps_after_them_are_not(
    make_run: Callable[..., Run], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[tuple[str, set[bool]]] = []
    for name, do in (("_step", FineTuner._step), ("_validate", FineTuner._validate)):

        def seen(tuner: Any, batch: Any, name: str = name, do: Any = do) -> None:
            modes.append((name, {module.training for module in tuner.network.modules()}))
            do(tuner, batch)

        monkeypatch.setattr(FineTuner, name, seen)
    train(make_run("trainer.epochs=2"), here / "run")
    assert all(of_modules == {name == "_step"} for name, of_modules in modes)
    names = [name for name, _ in modes]
    assert "_step" in names[names.index("_validate") :]


def test_gradients_are_clipped_to_their_norm_once_per_batch(
    make_run: Callable[..., Run], here: Path
) -> None:
    words = ("trainer.max_steps=1", "trainer.micro_batch_size=5", "trainer.max_grad_norm=0.01")
    (clipped,) = gradients(make_run(*words), here / "run")
    norm = torch.cat([gradient.reshape(-1) for gradient in clipped]).norm()
    assert norm.item() == pytest.approx(0.01, rel=1e-3)


def test_too_high_a_learning_rate_ends_the_run_as_diverged(
    make_run: Callable[..., Run], here: Path
) -> None:
    words = ("optimizer.lr=1e30", "trainer.max_grad_norm=null", "trainer.epochs=20")
    outcome = train(make_run(*words), here / "run")
    assert outcome.ending is Ending.diverged
    assert "loss became" in outcome.reason
    assert outcome.best is None and not outcome.points
    assert not (here / "run" / BEST_FILE).exists()


@dataclass(frozen=True, kw_only=True)
class Breaks(Strategy):
    """Multiplies a gradient, or replaces a validation output, by `value` after `after` steps."""

    what: str
    value: float
    after: int = 0

    def adapt(self, network: Any) -> Any:
        parameter = next(network.parameters())
        num_steps = 0

        def of_gradient(gradient: torch.Tensor) -> torch.Tensor:
            nonlocal num_steps
            num_steps += 1
            return gradient * self.value if num_steps > self.after else gradient

        def of_output(module: Any, arguments: Any, output: Any) -> None:
            if not module.training:
                output.logits[0, 0] = self.value

        if self.what == "gradient":
            parameter.register_hook(of_gradient)
        else:
            network.register_forward_hook(of_output)
        return network


def broken(run: Run, what: str, value: float, after: int = 0) -> Run:
    values = {f.name: getattr(run.strategy, f.name) for f in fields(Strategy)}
    return replace(run, strategy=Breaks(**values, what=what, value=value, after=after))


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("every", [1, 3, 5])
def test_nan_gradients_end_the_run_within_one_logging_interval(
    make_run: Callable[..., Run], here: Path, value: float, every: int
) -> None:
    words = (f"trainer.log_every_steps={every}", "trainer.validations_per_epoch=1")
    hooks = Listener()
    outcome = train(broken(make_run(*words), "gradient", value, after=1), here / "run", hooks)
    assert outcome.ending is Ending.diverged
    # Step 2 breaks the weights, and step 3 is the first with a NaN loss.
    first_logged = every * math.ceil(3 / every)
    assert outcome.reason == f"the training loss became nan by step {first_logged}"
    assert [step for step, _ in hooks.steps] == list(range(1, first_logged))
    assert outcome.best is None and not (here / "run" / BEST_FILE).exists()


def test_nan_weights_are_never_saved(make_run: Callable[..., Run], here: Path) -> None:
    run = broken(make_run(), "gradient", math.nan)
    outcome = train(run, here / "run", StopAt(1))  # the loss of step 1 was finite
    assert outcome.ending is Ending.diverged
    assert "became NaN or infinite by step 1" in outcome.reason
    assert not (here / "run/checkpoint.pt").exists()


def test_nan_weights_after_the_last_step_end_the_run_as_diverged(
    make_run: Callable[..., Run], here: Path
) -> None:
    words = ("trainer.epochs=1", "trainer.validations_per_epoch=1", "trainer.log_every_steps=100")
    outcome = train(broken(make_run(*words), "gradient", math.nan, after=6), here / "run")
    assert outcome.ending is Ending.diverged
    assert outcome.reason == "the validation loss became nan at step 7"
    assert outcome.best is None and not (here / "run" / BEST_FILE).exists()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_or_infinite_validation_outputs_end_the_run_as_diverged(
    make_run: Callable[..., Run], here: Path, value: float
) -> None:
    outcome = train(broken(make_run(), "output", value), here / "run")
    assert outcome.ending is Ending.diverged
    assert "the validation loss became" in outcome.reason
    assert outcome.best is None and not (here / "run" / BEST_FILE).exists()
