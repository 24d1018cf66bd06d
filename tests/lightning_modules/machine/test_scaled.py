"""Training in fp16: its gradients, its skipped steps, and its scale after an interruption."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lightning_modules.batch.order import epoch_batches
from lightning_modules.callback.checkpoint_file import load_checkpoint
from lightning_modules.check import check_run
from lightning_modules.folder import BEST_FILE
from lightning_modules.machine.hardware import Device, Precision, choose_hardware
from lightning_modules.machine.lightning import MixedPrecision
from lightning_modules.machine.scaled import Scaled
from lightning_modules.outcome import Ending
from lightning_modules.run import Run
from search.trained.export import Trained
from tests.cut import assert_cut_is_whole
from tests.lightning_modules.callback.test_speed import Kept, KeptLogger
from tests.lightning_modules.test_module import gradients
from tests.training import tiny_run, train

FP16 = "trainer.precision=fp16"


@pytest.fixture
def make_run(learnable: Path) -> Callable[..., Run]:
    return partial(tiny_run, learnable)


def test_a_card_without_bf16_units_says_how_to_train_in_fp16(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("is_available", True), ("device_count", 1), ("get_device_name", "T4")):
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    hardware = choose_hardware(Device.auto, Precision.auto)
    assert str(hardware) == "cuda, fp32 (T4, no bf16 units; or set trainer.precision=fp16)"
    hardware = choose_hardware(Device.auto, Precision.fp16)
    assert str(hardware) == "cuda, fp16 (T4, configured precision)"
    assert hardware.mixed_dtype is torch.float16


@pytest.mark.thorough
def test_what_a_strategy_adds_to_the_gradients_is_not_scaled(
    make_run: Callable[..., Run], here: Path
) -> None:
    words = ("trainer.max_steps=3", "strategy=adalora", "strategy.orthogonality=5")
    half, full = (
        train(make_run(*words, f"trainer.precision={name}"), here / name)
        for name in ("fp16", "fp32")
    )
    assert half.ending is full.ending is Ending.finished
    ours, theirs = (load_file(here / name / BEST_FILE) for name in ("fp16", "fp32"))
    weights = [name for name in theirs if "lora_A" in name]
    assert weights
    for name in weights:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-3, rtol=0.02)


@pytest.mark.thorough
def test_clipped_gradients_are_those_of_fp32_up_to_rounding(
    make_run: Callable[..., Run], here: Path
) -> None:
    words = ("trainer.max_steps=2", "trainer.max_grad_norm=0.01")
    half, full = (
        gradients(make_run(*words, f"trainer.precision={name}"), here / name)
        for name in ("fp16", "fp32")
    )
    for one, other in zip(half, full, strict=True):
        ours, theirs = (torch.cat([each.flatten() for each in step]) for step in (one, other))
        assert float(theirs.norm()) == pytest.approx(0.01, rel=1e-3)
        assert float((ours - theirs).norm()) < 0.02 * float(theirs.norm())


@pytest.mark.parametrize("max_norm", [1.0, None])
def test_a_fused_optimizer_steps_like_another(
    make_run: Callable[..., Run], here: Path, max_norm: float | None
) -> None:
    clipped = f"trainer.max_grad_norm={'null' if max_norm is None else max_norm}"
    words = ("trainer.max_steps=3", clipped, "optimizer.eps=1e-2")
    for fused in (True, False):
        train(make_run(FP16, *words, f"optimizer.fused={fused}"), here / str(fused))
    one, other = (load_file(here / str(fused) / BEST_FILE) for fused in (True, False))
    torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


@pytest.mark.thorough
def test_a_rank_without_rows_steps_like_the_others(
    make_run: Callable[..., Run], here: Path
) -> None:
    def first_batch(seed: int) -> list[int]:
        return epoch_batches([0] * 112, 37, seed, 0)[0]

    seed = next(seed for seed in range(100) if len(first_batch(seed)) == 1)
    words = (FP16, f"seed={seed}", "data.batch_size=37", "trainer.max_steps=2")
    outcome = train(make_run(*words, "trainer.devices=2"), here / "run")
    assert (outcome.ending, outcome.points[-1].step) == (Ending.finished, 2), outcome.reason


def test_a_step_with_an_infinite_gradient_is_skipped_and_the_scale_halved() -> None:
    precision, layer = Scaled("cpu"), torch.nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True)
    found = []
    for factor in (1.0, 1e38, 1.0):
        before = layer.weight.detach().clone()
        optimizer.zero_grad()
        loss = layer(torch.ones(1, 2)).sum() * factor
        precision.scale(loss).backward()
        precision.unscale(optimizer)
        precision.step(optimizer)
        has_moved = not torch.equal(layer.weight, before)
        found.append((has_moved, precision.state_dict()["scale"]))
    assert found == [(True, 2.0**16), (False, 2.0**15), (True, 2.0**15)]


def test_a_skipped_step_has_no_gradient_norm(
    make_run: Callable[..., Run], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_too_high(precision: Scaled, device: str) -> None:
        scaler = torch.amp.GradScaler(device, init_scale=2.0**24)
        MixedPrecision.__init__(precision, "16-mixed", device, scaler)

    monkeypatch.setattr(Scaled, "__init__", start_too_high)
    KeptLogger.log = kept = Kept()
    run = make_run(FP16, "trainer.max_steps=12", "trainer.log_every_steps=1")
    outcome = train(replace(run, logger=KeptLogger()), here / "run")
    steps = [values for _, values in kept.values if "train/loss" in values]
    norms = [values["train/gradient_norm"] for values in steps if "train/gradient_norm" in values]
    assert 0 < len(norms) < len(steps) == 12
    assert all(map(math.isfinite, norms))
    assert outcome.gradient_norm == pytest.approx(sum(norms) / len(norms))


@pytest.mark.thorough
def test_it_learns_and_is_scored_again_as_in_the_run(
    make_run: Callable[..., Run], here: Path
) -> None:
    run = make_run(FP16, "trainer.epochs=3")
    outcome = train(run, here / "run")
    assert outcome.best is not None and outcome.best.metrics["accuracy"] > 0.9
    rows = check_run(run).corpus.splits["validation"]
    trained = Trained(run, here / "run", "run x", outcome.best.metrics, "")
    assert trained.load().score(rows) == pytest.approx(outcome.best.metrics, abs=1e-6)


@pytest.mark.thorough
def test_a_resumed_run_is_bit_equal_and_keeps_its_scale(
    make_run: Callable[..., Run], here: Path
) -> None:
    run = make_run(FP16, "trainer.max_steps=9", "trainer.validations_per_epoch=1")
    assert_cut_is_whole(run, here, 4)
    checkpoint = load_checkpoint(here / "cut", print)
    assert checkpoint is not None
    # No step overflowed, so the scale is the first one, and 4 steps count towards a larger one.
    assert checkpoint.precision["scale"] == 2.0**16
    assert checkpoint.precision["_growth_tracker"] == 4
