"""Scores as shades: the finished trials in five groups of equal size, the worst one first."""

from __future__ import annotations

from search.report.document.chart import SHADES
from search.report.overview import Overview, TrialView


def shaded(overview: Overview) -> list[tuple[str, str, list[TrialView]]]:
    """Return name, tone and trials of each group that has any, the worst one first."""
    sign, num = overview.objectives[0].sign, len(SHADES)
    ranked = sorted(overview.finished, key=lambda t: sign * (t.objectives or (0.0,))[0])
    groups: list[list[TrialView]] = [[] for _ in SHADES]
    for at, trial in enumerate(ranked):
        groups[at * num // len(ranked)].append(trial)
    names = ("worst fifth", "fourth", "middle", "second", "best fifth")
    made = zip(names, SHADES, groups, strict=True)
    shown = ((name, tone, overview.shown_of(trials)) for name, tone, trials in made)
    return [(name, tone, trials) for name, tone, trials in shown if trials]
