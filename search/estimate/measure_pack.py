"""Measure trials that share passes in this process: `python -m search.estimate.measure_pack`.

As many copies of an arm's default as `search.pack` allows train together on a few random rows, to
see how much faster that is. Then copies with the arm's largest sizes do on its longest rows, for
their peak memory. It is started for an arm whose trials fit alone (`search.estimate.probe`).
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning_modules.cache import Cache
from lightning_modules.check import CheckedRows, check_run
from lightning_modules.fit.pack.pack import Member, Sharing, fit_pack
from lightning_modules.fit.pack.probe import NUM_ROUNDS
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity
from lightning_modules.logger.none import NoLogger
from lightning_modules.machine.hardware import choose_hardware
from lightning_modules.machine.memory import keep_buffers
from lightning_modules.model.files.trust import take_trust
from lightning_modules.network import build_tokenizer
from lightning_modules.outcome import Outcome
from lightning_modules.run import Run
from lightning_modules.trainer import AUTO
from search.estimate.measure import examples_per_row, longest_part, main, peak_bytes, sample_part
from search.estimate.probe import largest
from search.machine.quiet import quiet_process, quiet_training
from search.plan.plan import Plan
from search.space.space import Options

MAX_SECONDS = 60.0
"""After which the steps end. Those on random rows are then unmeasured."""
NUM_PEAK_STEPS = 2
"""On the longest rows: in the first step the first pass is done in both ways."""


def measure_pack(plan: Plan, options: Options, folder: Path) -> dict[str, Any]:
    """Return gain, refusal and peak memory of a full pack of the arm, as plain values.

    Args:
        plan: The study's plan.
        options: The arm.
        folder: An empty folder for the runs' files.

    """
    quiet_process()
    quiet_training()
    keep_buffers()  # as workers do
    settings = plan.search.settings
    default, large = plan.defaults[options], plan.run(largest(plan, options))
    device = choose_hardware(default.trainer.device, default.trainer.precision).device.value
    checked, cache = check_run(default), Cache()
    per_row = examples_per_row(default, checked, cache)
    build_tokenizer(large, checked.corpus.splits["train"], cache)
    rows = sample_part(default, checked, per_row, math.inf)  # as few as there may be
    sharing = _train(default, rows, NUM_ROUNDS, settings.pack_size, cache, folder / "pace")
    gain, refusal = sharing.gain, sharing.refusal
    if gain is not None and settings.pack != AUTO:
        refusal = None  # as asked for, whether it pays or not
    if gain is None or refusal is not None:
        return _result(gain, refusal, None)
    rows = longest_part(large, checked, per_row)
    most = folder / "most"
    sharing = _train(large, rows, NUM_PEAK_STEPS, settings.pack_size, cache, most, must_pay=False)
    return _result(gain, sharing.refusal, peak_bytes(device))


def _result(gain: float | None, refusal: str | None, memory_bytes: int | None) -> dict[str, Any]:
    return {"gain": gain, "refusal": refusal, "memory_bytes": memory_bytes}


def _train(
    run: Run,
    rows: CheckedRows,
    num_steps: int,
    num_runs: int,
    cache: Cache,
    folder: Path,
    *,
    must_pay: bool = True,
) -> Sharing:
    """Train copies of a run together for some steps."""
    trainer = replace(run.trainer, epochs=num_steps, max_steps=None, patience=None)
    short = replace(run, trainer=trainer, logger=NoLogger())
    results: list[Outcome | BaseException] = []
    members = []
    for number in range(num_runs):
        own = folder / str(number)
        own.mkdir(parents=True)
        identity = Identity("probe", None, own)
        members.append(Member(short, own, identity, _Few(num_steps), results.append, rows))
    sharing = fit_pack(members, cache, must_pay=must_pay)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return sharing


class _Few(Hooks):
    """Ends a run after some steps, or when time is up, before it validates."""

    def __init__(self, num_steps: int) -> None:
        self._left = num_steps
        self._deadline = math.inf

    def on_train_start(self, num_examples: int, stable_examples: int, hardware: str) -> None:
        self._deadline = time.monotonic() + MAX_SECONDS

    def on_step(self, step: int, num_steps: int) -> None:
        self._left -= 1

    def interrupted(self) -> bool:
        return self._left <= 0 or time.monotonic() > self._deadline


if __name__ == "__main__":
    take_trust(sys.argv[1:])
    sys.exit(main(measure_pack))
