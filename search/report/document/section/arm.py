"""The arms compared: their best trials, all their scores, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

from lightning_modules.machine.file import megabytes
from search.report.document.block import Block, Figure, Section, Table
from search.report.document.chart import SYMBOLS, TONES, Axis, Chart, Series
from search.report.overview import Overview, TrialView
from search.report.text import duration, score


def arms(overview: Overview) -> Section | None:
    """Return the arms; None in a study with a single one, or before a trial has finished."""
    if len(overview.arms) < 2 or not overview.finished:
        return None
    return Section("arms", "Arms compared", list(_blocks(overview)), is_brief=True)


def _blocks(overview: Overview) -> Iterator[Block]:
    best: dict[str, TrialView] = {}
    for number in overview.ranked:
        best.setdefault(overview.trials[number].arm, overview.trials[number])
    names = tuple(best)
    rows = [_row(overview, arm, trial) for arm, trial in best.items()]
    missing = [arm for arm in overview.arms if arm not in best]
    rows += [[arm, "-", "-", "-", *_counts(overview, arm), "-", "-"] for arm in missing]
    head = ["best of", "trial", overview.metric, "gain over the default", "finished", "pruned",
            "time", "memory"]  # fmt: skip
    marked = frozenset(at for at, arm in enumerate(names) if best[arm].number == overview.best)
    yield Table("The best trial of each arm", head, rows, marked)
    looks = zip(names, cycle(TONES), cycle(SYMBOLS), strict=False)
    series = []
    for at, (arm, tone, symbol) in enumerate(looks):
        own = [trial for trial in overview.shown_of(overview.finished) if trial.arm == arm]
        places = [at + 0.3 * ((7 * number) % 11 - 5) / 10 for number in range(len(own))]
        values = [overview.score(trial) for trial in own]
        numbers = [trial.number for trial in own]
        series.append(Series(arm, places, values, tone, numbers, symbol=symbol))
    chart = Chart(
        title=f"{overview.metric} of each arm",
        alt="; ".join(f"{arm}: best {score(overview.score(best[arm]))}" for arm in names) + ".",
        x=Axis("", names=names),
        y=Axis(overview.metric),
        series=tuple(series),
    )
    yield Figure(chart, "Every finished trial; the places within an arm have no meaning.")


def _row(overview: Overview, arm: str, trial: TrialView) -> list[str]:
    seconds, memory, gain = trial.seconds, trial.memory_bytes, trial.gain
    text = "-"
    if gain is not None:
        text = f"{gain.value:+.4f}"
        if gain.low is not None and gain.high is not None:
            text += f" ({gain.low:+.4f} to {gain.high:+.4f})"
    return [
        arm,
        str(trial.number),
        score(overview.score(trial)),
        text,
        *_counts(overview, arm),
        "-" if seconds is None else duration(seconds),
        megabytes(memory) if memory else "-",
    ]


def _counts(overview: Overview, arm: str) -> list[str]:
    own = [trial for trial in overview.trials if trial.arm == arm]
    return [str(sum(t.is_finished for t in own)), str(sum(t.state == "pruned" for t in own))]
