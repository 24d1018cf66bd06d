"""What plan says of trials that share passes."""

from __future__ import annotations

from functools import cache

from search.config import compose
from search.estimate.estimate import Measured, Pace, PackPace
from search.estimate.pack import PackNeed
from search.plan.build import build_plan
from search.plan.plan import Plan
from search.terminal.pack import pack_lines

NEED = PackNeed(
    num_trials=4,
    base=6e9,
    states=0.5e9,
    activations=2e9,
    free=21_300_000_000,
    num_sharing=2,
)
ONE_BY_ONE = "        the time and memory above are those of trials one by one"


@cache
def plan_of(*overrides: str) -> Plan:
    return build_plan(compose("sweep", ["model=tiny", "logger=none", *overrides]))


def measured_lines(
    gain: float | None, refusal: str | None = None, memory: int | None = None, num_trials: int = 0
) -> list[str]:
    pace = Pace(0.03, 0.0, 0.0, 1_400_000_000)
    packs = {(): PackPace(4, gain, refusal, memory)}
    measured = Measured({(): pace}, num_trials, free_bytes=4_000_000_000, packs=packs)
    return pack_lines(plan_of("search.pack=auto", "search.workers=2"), None, measured)


def test_without_a_probe_memory_is_estimated_and_time_unknown() -> None:
    assert pack_lines(plan_of("search.pack=auto"), NEED) == [
        "pack    up to 4 trials in one pass: about 8.5 GB (6.0 GB once, 0.5 GB to train all, 2.0 "
        "GB activations) per worker; 21.3 GB free",
        "        whether that is faster is unknown: probe=true measures their time",
    ]
    (line,) = pack_lines(plan_of("search.pack=8"), None)
    rest = "need more memory than one; probe=true measures their time"
    assert line == f"pack    up to 8 trials in one pass {rest}"


def test_what_does_not_fit_is_said() -> None:
    need = PackNeed(4, 6e9, 0.5e9, 2e9, free=16_000_000_000, num_sharing=2)
    last = pack_lines(plan_of("search.pack=auto"), need)[-1]
    assert last == "        DOES NOT FIT: lower search.pack, data.batch_size or data.max_length"
    assert measured_lines(1.5, None, 2_100_000_000)[1] == last  # of each of two workers


def test_a_measured_gain() -> None:
    assert measured_lines(1.48, None, 1_900_000_000) == [
        "pack    up to 4 trials in one pass: 1.48 times as fast as one by one, 1.9 GB per worker; "
        "4.0 GB free",
        ONE_BY_ONE,
    ]


def test_a_time_that_was_not_measured_is_unknown() -> None:
    assert measured_lines(None)[0] == (
        "pack    up to 4 trials in one pass: their time is unknown, because a few steps take too "
        "long to measure it; 4.0 GB free"
    )


def test_trials_that_would_not_share_passes() -> None:
    slow = "their passes take 1.20 times as long together"
    assert measured_lines(0.83, slow) == [f"pack    4 trials would train one by one: {slow}"]


def test_nothing_is_said_if_there_is_no_pack_or_its_trials_were_measured() -> None:
    assert pack_lines(plan_of(), None) == []
    assert measured_lines(None, num_trials=3) == []  # these were in packs


def test_trials_that_cannot_share_passes() -> None:
    alone = ["pack    search.pack=8: these trials cannot share passes, so each trains alone"]
    assert pack_lines(plan_of("search.pack=8", "strategy=full"), None) == alone
    costly = plan_of("search.pack=8", "search.objectives=[accuracy,seconds]")
    assert pack_lines(costly, None) == alone
