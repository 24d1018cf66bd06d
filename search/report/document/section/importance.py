"""How much each setting matters, with what is meant by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from search.report.document.block import Block, Figure, Section, Table, Text
from search.report.document.chart import PLAIN, TONES, Axis, Chart, Series
from search.report.influence import MAX_APART, MAX_TRIALS, MIN_TRIALS, Influence, Share
from search.report.overview import Overview

_APART = (
    "What sets the best tenth of the trials apart (PED-ANOVA): choose these settings well. The "
    "shares sum to 1."
)
_VARIANCE = (
    "Which share of the variance of the scores a setting explains alone (fANOVA): it also counts "
    "what makes bad trials bad. The rest is interplay and noise."
)


def importances(overview: Overview) -> Section | None:
    """Return the importances; None before a trial has finished."""
    if not overview.finished or not overview.space.paths:
        return None
    return Section("importance", "What matters", list(_blocks(overview)))


def _blocks(overview: Overview) -> Iterator[Block]:
    choice, arms = overview.influences.choice, overview.influences.arms
    if overview.space.groups:
        groups = " and ".join(overview.space.groups)
        if choice is None:
            yield Text(f"Choice of {groups}: too few trials to tell.")
        else:
            share = f"{choice.value:.0%} ({choice.low:.0%} to {choice.high:.0%})"
            yield Text(f"The choice of {groups} explains {share} of the variance of the scores.")
    lacking = [each for each in arms if not each.apart]
    if lacking:
        counts = ", ".join(f"{each.arm or 'it has'} {each.num_trials}" for each in lacking)
        needed = f"it takes {MIN_TRIALS} finished trials with different scores"
        yield Text(f"Importance of the settings: too few trials to tell; {needed} ({counts}).")
    for each in arms:
        if each.apart:
            yield from _arm(each)
    if any(each.apart for each in arms):
        note = "Intervals are rough: they come from leaving out trials, and from tree to tree."
        if any(each.num_trials > MAX_TRIALS for each in arms):
            note += (
                f" Of an arm, at most {MAX_APART:,} trials tell what sets the best apart and "
                f"{MAX_TRIALS} what explains the scores, taken evenly."
            )
        yield Text(note, is_note=True)


def _arm(influence: Influence) -> Iterator[Block]:
    name = f" with {influence.arm}" if influence.arm else ""
    if not _is_told(influence):
        yield Text(f"Which setting matters most{name}: too few trials to tell, the intervals "
                   "overlap.")  # fmt: skip
    yield _bars(f"What sets the best apart{name}", influence.order, influence.apart, _APART)
    yield _bars(f"What explains the scores{name}", influence.order, influence.variance, _VARIANCE)


def _is_told(influence: Influence) -> bool:
    """Whether the interval of the first setting lies above those of all others."""
    first, *others = (influence.apart[path] for path in influence.order)
    return all(first.low > other.high for other in others)


def _bars(title: str, order: Sequence[str], shares: Mapping[str, Share], caption: str) -> Figure:
    upwards = list(reversed(order))

    def lines(ends: Sequence[tuple[float, float]], tone: str, width: float) -> Series:
        x = [each for low, high in ends for each in (low, high, None)]
        y = [place for at in range(len(ends)) for place in (float(at), float(at), None)]
        texts = [
            f"{path}: {shares[path].value:.1%} ({shares[path].low:.1%} to {shares[path].high:.1%})"
            for path in upwards
            for _ in range(3)
        ]
        return Series("", x, y, tone, texts=texts, is_line=True, width=width)

    found = [shares[path] for path in upwards]
    chart = Chart(
        title=title,
        alt="; ".join(f"{path} {shares[path].value:.0%}" for path in order) + ".",
        x=Axis("share"),
        y=Axis("", names=tuple(upwards)),
        series=(
            lines([(0.0, each.value) for each in found], TONES[0], 16),
            lines([(each.low, each.high) for each in found], PLAIN, 2.5),
        ),
        height=90 + 34 * len(order),
    )
    rows = [[path, *(f"{value:.1%}" for value in vars(shares[path]).values())] for path in order]
    head = ["setting", "share", "from", "to"]
    return Figure(chart, caption, Table(title, head, rows))
