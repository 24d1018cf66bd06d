"""The probe of trials that share passes, in its own process."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.config import compose
from search.estimate.probe import _measure_pack
from search.plan.build import build_plan


@pytest.mark.thorough
@pytest.mark.usefixtures("here")
def test_a_full_pack_is_measured() -> None:
    words = ("study=p", "model=tiny", "logger=none", "search.pack=2", "trainer.epochs=1")
    plan = build_plan(compose("sweep", words))
    found = _measure_pack(plan, (), 2)
    assert (found.num_trials, found.refusal) == (2, None)
    assert found.gain is not None and 0.1 < found.gain < 10
    assert found.memory_bytes is not None and 1e8 < found.memory_bytes < 1e10
    assert not Path("studies").exists()
