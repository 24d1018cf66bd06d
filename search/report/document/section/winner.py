"""The winner's configuration, and how to train it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from search.report.document.block import Block, Code, Fold, Section, Table
from search.report.overview import Overview, TrialView
from search.report.text import setting

BEST_FILE = "best.yaml"


def winner(overview: Overview) -> Section | None:
    """Return the winner's section; None before there is a winner."""
    best = overview.winner
    if best is None:
        return None
    return Section("winner", "Configuration", list(_blocks(overview, best)), is_brief=True)


def _blocks(overview: Overview, best: TrialView) -> Iterator[Block]:
    yield _settings(overview, best)
    if overview.command is not None:
        yield Code("Train it again, to the same scores", overview.command)
    if overview.config:
        command = shlex.join(["finesweep", "train", f"config={overview.folder / BEST_FILE}"])
        yield Code(f"The same from {BEST_FILE}, which has the whole configuration", command)
        yield Fold(f"Whole configuration ({BEST_FILE})", [Code(BEST_FILE, overview.config)])


def _settings(overview: Overview, best: TrialView) -> Table:
    default = None if overview.default is None else overview.trials[overview.default]
    others = [] if default is None or default is best else [default]
    paths = [path for path in overview.space.paths if path in best.values]
    ranges = _ranges(overview, best)
    head = ["setting", f"winner, trial {best.number}", *("default" for _ in others), "searched"]
    rows = [
        [path, *(setting(each.values, path) for each in [best, *others]), ranges.get(path, "")]
        for path in paths
    ]
    return Table("Settings that were searched", head, rows)


def _ranges(overview: Overview, trial: TrialView) -> dict[str, str]:
    space = overview.space
    texts = {group: f"choice({', '.join(options)})" for group, options in space.groups.items()}
    return texts | {path: each.text for path, each in space.arm_of(trial.values).items()}
