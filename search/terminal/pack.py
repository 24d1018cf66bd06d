"""The lines of a plan on trials that share passes, which its time and memory do not count."""

from __future__ import annotations

from collections.abc import Iterator

from search.estimate.estimate import Measured, PackPace
from search.estimate.pack import PackNeed
from search.plan.plan import Plan
from search.report.text import columns
from search.study.pack import arms_that_pack
from search.terminal.estimate import WIDTH
from search.terminal.need import amount

LOWER = "lower search.pack, data.batch_size or data.max_length"


def pack_lines(plan: Plan, need: PackNeed | None, measured: Measured | None = None) -> list[str]:
    """Return the lines; none if no trials may train together.

    Args:
        plan: The study's plan.
        need: The memory that a full pack needs, by estimate; None if unknown.
        measured: Time and memory, if they were measured. If earlier trials of the study took
            them, those were in packs or not, and nothing is said.

    """
    pack = plan.search.settings.pack
    if pack == 1 or plan.is_asked or (measured is not None and measured.num_trials):
        return []
    if not arms_that_pack(plan):
        texts = [f"search.pack={pack}: these trials cannot share passes, so each trains alone"]
    elif measured is not None:
        texts = list(_measured(plan, measured))
    else:
        texts = list(_unmeasured(plan, need))
    return columns([["" if at else "pack".ljust(WIDTH), text] for at, text in enumerate(texts)])


def _measured(plan: Plan, measured: Measured) -> Iterator[str]:
    is_shared = False
    for options, pack in measured.packs.items():
        name = f"{' '.join(options)}: " if options else ""
        if pack.refusal is not None:
            yield f"{name}{pack.num_trials} trials would train one by one: {pack.refusal}"
            continue
        is_shared = True
        yield f"{name}{_together(pack)}{_free(measured)}"
        if _exceeds(plan, pack, measured):
            yield f"DOES NOT FIT: {LOWER}"
    if is_shared:
        yield "the time and memory above are those of trials one by one"


def _together(pack: PackPace) -> str:
    text = f"up to {pack.num_trials} trials in one pass"
    if pack.gain is None:
        return f"{text}: their time is unknown, because a few steps take too long to measure it"
    text += f": {pack.gain:.2f} times as fast as one by one"
    return text if pack.memory_bytes is None else f"{text}, {amount(pack.memory_bytes)} per worker"


def _free(measured: Measured) -> str:
    return "" if measured.free_bytes is None else f"; {amount(measured.free_bytes)} free"


def _exceeds(plan: Plan, pack: PackPace, measured: Measured) -> bool:
    if pack.memory_bytes is None or measured.free_bytes is None:
        return False
    num_sharing = -(-max(1, plan.search.settings.workers) // measured.num_shares)
    return num_sharing * pack.memory_bytes > measured.free_bytes


def _unmeasured(plan: Plan, need: PackNeed | None) -> Iterator[str]:
    most = plan.search.settings.pack_size
    time = "probe=true measures their time"
    if need is None:
        yield f"up to {most} trials in one pass need more memory than one; {time}"
        return
    parts = [f"{amount(need.base)} once", f"{amount(need.states)} to train all"]
    known = "and activations"
    if need.activations is not None:
        parts.append(f"{amount(need.activations)} activations")
        known = ""
    free = "" if need.free is None else f"; {amount(need.free)} free"
    about = " ".join(["about", amount(need.total), *([known] if known else [])])
    yield f"up to {most} trials in one pass: {about} ({', '.join(parts)}) per worker{free}"
    yield f"whether that is faster is unknown: {time}"
    if need.fits is False:
        yield f"DOES NOT FIT: {LOWER}"
