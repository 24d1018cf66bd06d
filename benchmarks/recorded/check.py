"""Whether recording changes a training: the product alone must end in the same bits."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from recorded.job import PLANS, SMALL, Family
from recorded.text import Place
from recorded.train import fit_plainly, trained_runs
from safetensors.torch import load_file

from lightning_modules.folder import BEST_FILE
from lightning_modules.hooks import Hooks
from lightning_modules.outcome import Outcome


def check(place: Place) -> int:
    """Train families as they are recorded and each run alone; return how many runs differ."""
    num_different = 0
    for family in checked_families():
        for trained in trained_runs(family, place):
            recorded = _bits(trained.outcome, trained.folder)
            with tempfile.TemporaryDirectory(dir=place.work) as name:
                alone = _bits(fit_plainly(trained.run, Hooks(), Path(name)), Path(name))
            same = recorded == alone
            num_different += not same
            scorings = f"the truth was kept {len(trained.recorder.answers)} times"
            name = family.run_name(trained.epochs)
            print(f"{name}: {'same bits' if same else 'DIFFERENT'}, {scorings}", flush=True)
    return num_different


def checked_families() -> Iterator[Family]:
    for text in PLANS["feature_extraction"].texts:
        for point, size in enumerate((8, 16, 32)):
            lengths = (2, 3) if size == 16 else (3,)
            yield Family("feature_extraction", text, SMALL, point, 0, 1e-2, size, lengths)
    for strategy, lr in (("lora", 1e-3), ("full", 2e-4)):
        yield Family(strategy, "cola", SMALL, 0, 0, lr, 16, (1, 2))


def _bits(outcome: Outcome, folder: Path) -> tuple[Any, ...]:
    """Return the curve and the best weights of a training."""
    weights = load_file(folder / BEST_FILE)
    curve = [asdict(replace(point, seconds=0.0)) for point in outcome.points]
    return curve, {name: each.numpy().tobytes() for name, each in weights.items()}
