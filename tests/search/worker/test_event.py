from __future__ import annotations

import pytest

from lightning_modules.outcome import Ending
from search.worker.event import Began, Ended, Event, Note, Prepared, Progressed, from_line, to_line


@pytest.mark.parametrize(
    "event",
    [
        Began(3, 1, {"optimizer.lr": 1e-3, "trainer.precision": "fp32"}),
        Progressed(3, 0.5, 0.875, 7.25),
        Ended(3, Ending.finished, "trained all 2 epochs", 0.875, 9.5),
        Prepared(3, "cpu, fp32", "lora", 66, 5000),
        Ended(3, Ending.diverged, "loss is nan", None, 0.0),
        Note("first line\nsecond line, with ünicode"),
    ],
)
def test_an_event_survives_a_round_trip(event: Event) -> None:
    line = to_line(event)
    assert line.count("\n") == 1
    assert line.endswith("\n")
    assert from_line(line) == event
