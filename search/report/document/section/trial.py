"""All trials as a table, which a click sorts."""

from __future__ import annotations

from search.report.document.block import Fold, Section, Table
from search.report.overview import Overview, TrialView
from search.report.text import duration, score, setting, short_names


def trials(overview: Overview) -> Section:
    """Return the table of trials."""
    paths = overview.space.paths
    names = [objective.short for objective in overview.objectives]
    head = ["trial", "state", *names, *short_names(paths), "time", "reason"]
    rows = [_row(overview, trial) for trial in overview.trials]
    special = (overview.best, overview.default)
    marked = frozenset(at for at, each in enumerate(overview.trials) if each.number in special)
    table = Table("Trials; the winner and the default are marked", head, rows, marked)
    title = f"All {len(rows)} trials" if len(rows) != 1 else "The trial"
    return Section("trials", "Trials", [Fold(title, [table])])


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
