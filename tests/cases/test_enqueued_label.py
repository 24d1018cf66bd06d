"""Exactly the trials that are enqueued are called so: ../shared/cases/enqueued-label."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import run_here
from tests.shared import SHARED, needs

pytestmark = needs(SHARED / "cases" / "enqueued-label")


def test_a_default_and_a_trial_of_the_sampler_are_not(here: Path) -> None:
    words = ("model=tiny", "search/space=none", "optimizer.lr=tag(log,interval(1e-5,1e-2))")
    queue = "search.enqueue=[{optimizer.lr: 1e-5},{optimizer.lr: 0.01},{optimizer.lr: 1e-3}]"
    printed = run_here("plan", "study=x", *words, queue, "search.num_trials=5")
    table = printed.partition("\ntrial ")[2].partition("\n\n")[0].splitlines()[1:]
    assert [" ".join(line.split()[2:]) for line in table[:4]] == [
        "default",
        "enqueued",
        "enqueued",
        "known to be good",
    ]
    assert sum("enqueued" in line for line in table) == 2
