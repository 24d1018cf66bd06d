"""Several studies side by side, with the interval of their winners' difference."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, cycle

from search.report.document.block import Block, Code, Figure, Section, Table, Text
from search.report.document.chart import SYMBOLS, TONES, Axis, Chart, Series
from search.report.document.html import page
from search.report.document.markdown import markdown
from search.report.document.section.verdict import headline
from search.report.overview import Overview
from search.report.text import duration, gain_lines, score, setting
from search.study.gain import Gain, half_width, standard_error, t_quantile


def comparison(overviews: Sequence[Overview]) -> tuple[str, str]:
    """Return the page and the Markdown of several studies with the same first objective."""
    names = [overview.name for overview in overviews]
    title, subtitle = f"Studies {' and '.join(names)}", f"{len(names)} studies side by side"
    sections = [
        Section("verdict", "Verdict", list(_verdict(overviews)), is_brief=True),
        Section("winners", "Winners", list(_winners(overviews)), is_brief=True),
        Section("history", "History", list(_history(overviews))),
    ]
    return page(title, subtitle, sections), markdown(title, subtitle, sections)


def difference(one: Overview, other: Overview) -> Gain | None:
    """Return how much better the winner of `one` is than that of `other`; None without both.

    With the same validation rows the interval is paired, else it has the errors of both.
    """
    first, second = one.winner, other.winner
    if first is None or second is None or not (first.objectives and second.objectives):
        return None
    value = one.objectives[0].sign * (first.objectives[0] - second.objectives[0])
    ours, theirs = one.row_scores, other.row_scores
    if ours is None or theirs is None:
        return Gain(value)
    if ours.rows == theirs.rows:
        pairs = zip(ours.values, theirs.values, strict=True)
        half = half_width([mine - its for mine, its in pairs])
    else:
        half = _unpaired(ours.values, theirs.values)
    return Gain(value, value - half, value + half)


def _unpaired(ones: Sequence[float], others: Sequence[float]) -> float:
    """Return half the width of Welch's interval of the difference of two means."""
    errors = [standard_error(values) ** 2 for values in (ones, others)]
    total = math.fsum(errors)
    if total == 0:
        return 0.0
    parts = zip(errors, (len(ones), len(others)), strict=True)
    freedom = total**2 / math.fsum(error**2 / (num - 1) for error, num in parts)
    return t_quantile(max(1, math.floor(freedom))) * math.sqrt(total)


def _verdict(overviews: Sequence[Overview]) -> Iterator[Block]:
    sign = overviews[0].objectives[0].sign
    with_winner = [each for each in overviews if each.winner is not None]
    ranked = sorted(with_winner, key=lambda each: -sign * (_score(each) or 0.0))
    if len(ranked) < 2:
        yield Text("Fewer than two of these studies have a winner to compare.")
        return
    first = ranked[0]
    for other in ranked[1:]:
        yield Text(_sentence(first, other))
    yield Text(
        "Intervals cover the choice of the validation rows, on which the winners were chosen too, "
        "not the seed. finesweep certify compares two studies by fresh runs.",
        is_note=True,
    )


def _sentence(first: Overview, other: Overview) -> str:
    winners = {(first.name, first.best), (other.name, other.best)}
    for each in (*first.certificates, *other.certificates):
        if {(one.study, one.trial) for one in (each.first, each.second)} == winners:
            return f"{each.subject} of study {each.study} is {each.sentence}."
    subject = f"The winner of {first.name}"
    gain = difference(first, other)
    (line, *_) = gain_lines(gain, first.metric)
    line = line.replace("the default configuration", f"the winner of {other.name}")
    line = f"{subject} {line.removeprefix('It ')}" if line.startswith("It ") else line
    ours, theirs = first.row_scores, other.row_scores
    is_paired = ours is not None and theirs is not None and ours.rows == theirs.rows
    return line if is_paired else f"{line} They were scored on different rows."


def _score(overview: Overview) -> float | None:
    return None if overview.winner is None else overview.score(overview.winner)


def _winners(overviews: Sequence[Overview]) -> Iterator[Block]:
    head = ["", *(each.name for each in overviews)]
    rows = [
        [f"winner's {overviews[0].metric}", *(score(_score(each)) for each in overviews)],
        ["trial", *("-" if each.best is None else str(each.best) for each in overviews)],
        ["trials", *(f"{e.now.num_ended} of {e.now.num_trials}" for e in overviews)],
        ["training time", *(duration(each.seconds) for each in overviews)],
    ]
    paths = dict.fromkeys(path for each in overviews for path in each.space.paths)
    rows += [
        [path, *("-" if e.winner is None else setting(e.winner.values, path) for e in overviews)]
        for path in paths
    ]
    yield Table("The winners", head, rows)
    for each in overviews:
        yield Text(f"{each.name}: {headline(each)}")
        if each.command is not None:
            yield Code(f"Train the winner of {each.name} again", each.command)


def _history(overviews: Sequence[Overview]) -> Iterator[Block]:
    series = []
    looks = zip(overviews, cycle(TONES), cycle(SYMBOLS), strict=False)
    for at, (each, tone, symbol) in enumerate(looks):
        finished = [trial for trial in each.finished if trial.objectives is not None]
        values = [trial.objectives[0] for trial in finished if trial.objectives is not None]
        best = list(accumulate(values, max if each.objectives[0].sign == 1 else min))
        hours = list(accumulate((trial.seconds or 0.0) / 3600 for trial in finished))
        texts = [f"{each.name}, trial {trial.number}" for trial in finished]
        dashed = at % 2 == 1
        series.append(
            Series(each.name, hours, best, tone, texts=texts, is_line=True, symbol=symbol,
                   is_dashed=dashed)
        )  # fmt: skip
    metric = overviews[0].metric
    chart = Chart(
        title="Best so far",
        alt="; ".join(f"{each.name} reached {score(_score(each))}" for each in overviews) + ".",
        x=Axis("hours of training of finished trials"),
        y=Axis(metric),
        series=tuple(series),
    )
    yield Figure(chart, f"The best {metric} so far, by training time of the finished trials.")
