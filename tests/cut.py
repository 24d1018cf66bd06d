"""Cutting a training in two, and whether it then came out as the whole one does."""

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
    """Asks to stop once `step` optimizer steps have been begun."""

    def __init__(self, step: int) -> None:
        self.left = step

    def interrupted(self) -> bool:
        self.left -= 1
        return self.left < 0


def assert_cut_is_whole(run: Run, root: Path, step: int) -> None:
    """Assert that the run, stopped at `step` and gone on with, ends with the whole one's bits."""
    whole, cut = root / "whole", root / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    fit(run, whole, Identity("x", None, whole), cache=Cache())
    fit(run, cut, Identity("x", None, cut), StopAt(step), Cache())
    assert (cut / "checkpoint.pt").is_file()
    fit(run, cut, Identity("x", None, cut), cache=Cache())
    one, other = load_best(whole), load_best(cut)
    assert one is not None and other is not None and one.weights.keys() == other.weights.keys()
    for name, tensor in one.weights.items():
        assert torch.equal(tensor, other.weights[name]), name
    for name, tensor in one.observed.items():
        assert torch.equal(tensor, other.observed[name]), name
