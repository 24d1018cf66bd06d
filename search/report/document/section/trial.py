"""All trials as a table, which a click sorts."""

from __future__ import annotations

from collections.abc import Collection

from search.report.document.block import Block, Fold, Section, Table, Text
from search.report.overview import Overview, TrialView
from search.report.text import duration, score, setting, short_names


def trials(overview: Overview) -> Section:
    """Return the table of trials."""
    paths = overview.space.paths
    names = [objective.short for objective in overview.objectives]
    head = ["trial", "state", *names, *short_names(paths), "time", "reason"]
    shown = overview.shown_of(overview.trials)
    rows = [_row(overview, trial) for trial in shown]
    special = (overview.best, overview.default)
    marked = frozenset(at for at, each in enumerate(shown) if each.number in special)
    table = Table("Trials; the winner and the default are marked", head, rows, marked)
    title = f"All {len(rows)} trials" if len(rows) != 1 else "The trial"
    blocks: list[Block] = []
    if overview.is_thinned:
        title = f"{len(rows):,} of {len(overview.trials):,} trials"
        blocks = [Text(_rule(overview, len(rows)))]
    return Section("trials", "Trials", [*blocks, Fold(title, [table])])


def _rule(overview: Overview, num_shown: int) -> str:
    """Return which trials are shown."""
    front = f"{_part(overview, overview.front)} on the front, "
    return (
        f"So that this page stays small, the charts and this table show {num_shown:,} of "
        f"{len(overview.trials):,} trials: the winner, the default, the best {overview.num_best}, "
        f"{front if len(overview.objectives) > 1 else ''}{_part(overview, overview.steps)} that "
        "were the best so far, and others evenly. Counts, times, importances and the verdict are "
        "of all trials, and trials.csv has them all."
    )


def _part(overview: Overview, numbers: Collection[int]) -> str:
    num = sum(number in overview.shown for number in numbers)
    return "those" if num == len(numbers) else f"{num:,} of the {len(numbers):,}"


def _row(overview: Overview, trial: TrialView) -> list[str]:
    values = trial.objectives or (None,) * len(overview.objectives)
    return [
        str(trial.number),
        "dropped" if trial.is_dropped else trial.state,
        *map(score, values),
        *(setting(trial.values, path) for path in overview.space.paths),
        "-" if trial.seconds is None else duration(trial.seconds),
        trial.reason or "-",
    ]
