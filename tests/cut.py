"""Interrupt a training, resume it, and compare it with an uninterrupted one."""

from __future__ import annotations

from pathlib import Path

import torch

from lightning_modules.cache import Cache
from lightning_modules.callback.best import load_best
from lightning_modules.fit import fit
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity
from lightning_modules.run import Run


class StopAt(Hooks):
    """Interrupts the run after `step` optimizer steps."""

    def __init__(self, step: int) -> None:
        self.num_left = step

    def on_step(self, step: int, num_steps: int) -> None:
        self.num_left -= 1

    def interrupted(self) -> bool:
        return self.num_left <= 0


def assert_cut_is_whole(run: Run, root: Path, step: int) -> None:
    """Assert that the run, interrupted after `step` and resumed, is bit-equal to a whole one."""
    whole, cut = root / "whole", root / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    fit(run, whole, Identity("x", None, whole), cache=Cache())
    fit(run, cut, Identity("x", None, cut), StopAt(step), Cache())
    assert (cut / "checkpoint.pt").is_file()
    fit(run, cut, Identity("x", None, cut), cache=Cache())
    expected, actual = load_best(whole), load_best(cut)
    assert expected is not None and actual is not None
    assert expected.weights.keys() == actual.weights.keys()
    for name, tensor in expected.weights.items():
        assert torch.equal(tensor, actual.weights[name]), name
    for name, tensor in expected.observed.items():
        assert torch.equal(tensor, actual.observed[name]), name
