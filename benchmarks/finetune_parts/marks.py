"""A stopwatch for the process of a side, which writes what each of its trials took."""

from __future__ import annotations

import json
import time
from pathlib import Path

Times = tuple[float, float]


def now() -> Times:
    """Return seconds by the clock and of all cores."""
    return time.perf_counter(), time.process_time()


class Marks:
    """What happened when, in one process that trains trial after trial."""

    def __init__(self) -> None:
        self._trials: list[dict[str, object]] = []
        self._began = self._last = now()

    def trial(self, batch_size: int) -> None:
        """Begin a trial, and end the one before."""
        self.end()
        counts = {"batch_size": batch_size, "num_steps": 0, "num_validations": 0}
        spent = {name: [0.0, 0.0] for name in ("all", "steps", "validations")}
        self._trials.append({**counts, **spent})
        self._began = now()

    def begin(self) -> None:
        """Begin to measure the first step."""
        self._last = now()

    def step(self) -> None:
        """End a step, and begin what comes next."""
        self._add("steps", "num_steps")

    def validation(self) -> None:
        """End a validation, and begin what comes next."""
        self._add("validations", "num_validations")

    def end(self) -> None:
        """End the trial."""
        if self._trials:
            self._trials[-1]["all"] = _since(self._began)

    def write(self, folder: Path) -> None:
        """Write the trials to `spent.json`."""
        self.end()
        (folder / "spent.json").write_text(json.dumps(self._trials), encoding="utf-8")

    def _add(self, part: str, count: str) -> None:
        spent, counted = self._trials[-1][part], self._trials[-1][count]
        assert isinstance(spent, list) and isinstance(counted, int)
        self._trials[-1][part] = [a + b for a, b in zip(spent, _since(self._last), strict=True)]
        self._trials[-1][count] = counted + 1
        self._last = now()


def _since(mark: Times) -> list[float]:
    return [end - began for began, end in zip(mark, now(), strict=True)]
