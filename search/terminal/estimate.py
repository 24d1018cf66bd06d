"""The lines of an estimate of a study's time and memory."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lightning_modules.machine.file import megabytes
from search.estimate.estimate import Estimate, Measured
from search.plan import certify
from search.plan.certify import certifies
from search.plan.confirm import confirms, max_runs
from search.plan.plan import Plan
from search.report.text import columns
from search.space.space import Options
from search.study.reserve import reserved_before

MUCH = 0.2  # share of the CPU that other programs use
WIDTH = 6  # characters of the names in front of the lines, like those of describe


def estimate_lines(
    plan: Plan,
    estimate: Estimate | None,
    confirm_runs: int | None = None,
    certify_runs: int | None = None,
) -> list[str]:
    """Return the lines on time and memory, or one that says how to measure them.

    Args:
        plan: The study's plan.
        estimate: Its time and memory, if they were measured.
        confirm_runs: The most runs that confirming the first few still takes, if some were made.
        certify_runs: The runs that certifying the winner still takes, if some were made.

    """
    if confirm_runs is None:
        confirm_runs = max_runs(plan) if confirms(plan) else 0
    if certify_runs is None:
        certify_runs = certify.max_runs(plan) if certifies(plan) else 0
    if estimate is None:
        return ["time and memory: measure them with finesweep plan ... probe=true"]
    lines: list[list[str]] = []
    for name, texts in (
        ("time", _time(plan, estimate, confirm_runs, certify_runs)),
        ("memory", _memory(estimate)),
    ):
        lines += [["" if at else name.ljust(WIDTH), text] for at, text in enumerate(texts)]
    return columns(lines)


def size(num_bytes: int) -> str:
    """Return an amount of memory.

    >>> size(1_400_000_000), size(21_340_000_000), size(640_000_000)
    ('1.4 GB', '21.3 GB', '0.6 GB')
    """
    return f"{num_bytes / 1e9:.1f} GB"


def about(seconds: float) -> str:
    """Return a time span, rounded like an estimate.

    >>> about(0.84), about(71.2), about(840), about(9000), about(200_000)
    ('1 s', '71 s', '14 min', '2.5 h', '56 h')
    """
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 10 else f"{hours:.0f} h"


def _time(plan: Plan, estimate: Estimate, confirm_runs: int, certify_runs: int) -> Iterator[str]:
    if not estimate.num_trials:
        yield f"all {plan.num_trials} trials have ended"
        return
    num_trials, hours = estimate.num_limited, plan.search.settings.max_hours
    if not num_trials:
        yield f"search.max_hours={hours:g} is used up: no more trials will start"
        return
    most, less = ("at most ", "; less with pruning") if estimate.is_pruned else ("", "")
    left = " left" if estimate.num_trials < plan.num_trials else ""
    yield (
        f"{most}about {about(estimate.seconds)} for {_count(num_trials, 'trial')}{left}"
        f" ({_count(estimate.num_workers, 'worker')}), {about(estimate.trial_seconds)} per trial"
        f"{less}"
    )
    if confirm_runs and not _has_time_to_confirm(plan, estimate):
        least = 2 * plan.search.settings.confirm * estimate.trial_seconds
        yield f"search.max_hours={hours:g} has no room to confirm the best: {about(least)} or more"
    elif confirm_runs:
        seconds = math.ceil(confirm_runs / estimate.num_workers) * estimate.trial_seconds
        runs = _count(confirm_runs, "run")
        yield f"and at most about {about(seconds)} for {runs} that confirm the best"
    if certify_runs:
        yield _certifying(plan, estimate, certify_runs)
    if num_trials < estimate.num_trials:
        yield f"search.max_hours={hours:g} ends the study before all {estimate.num_trials} trials"
    yield _source(estimate.measured)
    if num_bytes := estimate.measured.feature_bytes:
        span, taken = about(estimate.measured.feature_seconds), megabytes(num_bytes)
        yield f"the frozen part runs once, {span}: its outputs take {taken} of cache"
    if estimate.measured.busy > MUCH:
        busy = f"{estimate.measured.busy:.0%}"
        yield f"other programs used {busy} of the CPU; without them it takes less"
    if estimate.num_workers > 1:
        yield f"if {estimate.num_workers} workers do not slow each other down"


def _certifying(plan: Plan, estimate: Estimate, num_runs: int) -> str:
    """Return how long the runs of the winner's certificate take."""
    hours = plan.search.settings.max_hours
    trial, scoring = estimate.trial_seconds, estimate.scoring_seconds
    if hours is not None and reserved_before(plan, trial, scoring)[1] == 0:
        least = about(2 * certify.NUM_SIDES * (trial + scoring))
        return f"search.max_hours={hours:g} has no room to certify the winner: {least} or more"
    seconds = math.ceil(num_runs / estimate.num_workers) * trial + num_runs * scoring
    return f"and about {about(seconds)} for {_count(num_runs, 'run')} that certify the winner"


def _has_time_to_confirm(plan: Plan, estimate: Estimate) -> bool:
    is_limited = plan.search.settings.max_hours is not None
    before = reserved_before(plan, estimate.trial_seconds, estimate.scoring_seconds)
    return not is_limited or before[0] > 0


def _source(measured: Measured) -> str:
    where = f"from {_count(measured.num_trials, 'trial')}" if measured.num_trials else "measured"
    trained = {m: p.train for m, p in measured.paces.items() if p.train}  # prompting does not train
    return (
        f"{where}: {_each(trained)} s per training example" if trained else f"{where}: no training"
    )


def _memory(estimate: Estimate) -> Iterator[str]:
    measured, peak = estimate.measured, estimate.memory_bytes
    total, sharing = estimate.memory_bytes_per_device, estimate.workers_per_device
    if peak is None or total is None:
        return
    at = " ".join(f"{path}={value}" for path, value in measured.sizes.items())
    line = f"{size(peak)} per worker at {at}" if at else f"{size(peak)} per worker so far"
    if measured.num_shares > 1:
        line += f", {size(total)} for the {sharing} on a GPU" if sharing > 1 else ", one per GPU"
    elif sharing > 1:
        line += f", {size(total)} for {sharing}"
    where = "free on the GPU" if measured.device == "cuda" else "free"
    free = measured.free_bytes
    yield line if free is None else f"{line}; {size(free)} {where}"
    arms = {m: p.memory_bytes / 1e9 for m, p in measured.paces.items() if p.memory_bytes}
    if len(arms) > 1:
        yield f"{_each(arms)} GB"
    yield from _splits(measured)
    if free is not None and not estimate.fits:
        fewer = "search.workers, " if sharing > 1 else ""
        yield (
            f"DOES NOT FIT: {size(total)} needed, {size(free)} free. Lower {fewer}"
            "data.batch_size or data.max_length, or set trainer.micro_batch_size."
        )


def _splits(measured: Measured) -> Iterator[str]:
    """Yield a line for each arm whose batch does not fit into memory at once."""
    for options, num_at_once in measured.at_once.items():
        name = f"{' '.join(options)}: " if options else ""
        yield (
            f"{name}a batch does not fit at once and is processed {num_at_once} examples at a time;"
            f" trainer.micro_batch_size={num_at_once} does so from the start"
        )


def _each(values: dict[Options, float]) -> str:
    """Return one value per arm, with the arm's options if there are several arms."""
    return ", ".join(
        f"{' '.join(options)} {_digits(value)}" if options else _digits(value)
        for options, value in values.items()
    )


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 9.95 else f"{value:.2g}"


def _count(number_of: int, what: str) -> str:
    return f"{number_of} {what}{'' if number_of == 1 else 's'}"
