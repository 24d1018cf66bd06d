"""What the study cost, and when each worker did what."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from lightning_modules.machine.file import megabytes
from search.report.document.block import Block, Facts, Figure, Section
from search.report.document.chart import TONES, Axis, Chart, Series
from search.report.overview import Overview, TrialView
from search.report.text import duration

MAX_WORKERS = 40
_TONES = {"complete": TONES[2], "pruned": TONES[4], "fail": TONES[3], "running": TONES[0]}
_NAMES = {"complete": "finished", "pruned": "pruned", "fail": "failed", "running": "running"}


def cost(overview: Overview) -> Section | None:
    """Return the cost; None before a trial has started."""
    started = [trial for trial in overview.trials if trial.started is not None]
    if not started:
        return None
    return Section("cost", "Cost", list(_blocks(overview, started)))


def _blocks(overview: Overview, started: list[TrialView]) -> Iterator[Block]:
    yield Facts(list(_facts(overview, started)))
    if any(trial.worker for trial in started):
        yield _timeline(overview, started)


def _facts(overview: Overview, started: list[TrialView]) -> Iterator[tuple[str, str]]:
    winner = overview.winner
    yield "Training time of all trials", duration(overview.seconds)
    for state, name in _NAMES.items():
        seconds = sum(trial.seconds or 0.0 for trial in started if trial.state == state)
        if seconds and state != "running":
            share = seconds / overview.seconds
            yield f"Of these, {name}", f"{duration(seconds)} ({share:.0%})"
    begin, end = _begin(started), max(_end(overview, trial) for trial in started)
    yield "From the first start to the last end", duration((end - begin).total_seconds())
    if winner is not None and winner.seconds is not None:
        yield "The winner's training", duration(winner.seconds)
    if winner is not None and winner.memory_bytes:
        yield "Its peak memory", megabytes(winner.memory_bytes)
    if winner is not None and winner.num_trainable is not None:
        yield "Its trained parameters", f"{winner.num_trainable:,}"


def _begin(started: list[TrialView]) -> datetime:
    return min(trial.started for trial in started if trial.started is not None)


def _end(overview: Overview, trial: TrialView) -> datetime:
    return trial.ended or overview.taken


def _timeline(overview: Overview, started: list[TrialView]) -> Figure:
    workers = sorted({trial.worker for trial in started if trial.worker})[-MAX_WORKERS:]
    begin = _begin(started)
    length = max((_end(overview, trial) - begin).total_seconds() for trial in started)
    unit, size = next((u, s) for u, s in (("hours", 3600), ("minutes", 60), ("seconds", 1))
                      if length > 2 * s or s == 1)  # fmt: skip

    def spans(state: str) -> Series:
        x: list[float | None] = []
        y: list[float | None] = []
        numbers: list[int | None] = []
        for trial in overview.shown_of(started):
            if trial.state == state and trial.worker in workers and trial.started is not None:
                low = (trial.started - begin).total_seconds() / size
                high = (_end(overview, trial) - begin).total_seconds() / size
                gap = min(0.003 * length / size, 0.2 * (high - low))  # before the next one
                x += [low, high - gap, None]
                y += [float(workers.index(trial.worker))] * 2 + [None]
                numbers += [trial.number, trial.number, None]
        return Series(_NAMES[state], x, y, _TONES[state], numbers, is_line=True, width=14)

    series = tuple(each for each in map(spans, _NAMES) if each.x)
    chart = Chart(
        title="Timeline of the workers",
        alt=f"{len(started)} trials by {len(workers)} workers in {duration(length)}.",
        x=Axis(f"{unit} since the first start"),
        y=Axis("", names=tuple(workers)),
        series=series,
        height=90 + 34 * len(workers),
    )
    note = "A trial is shown with the worker that trained it last, from its first start to its end."
    return Figure(chart, note)
