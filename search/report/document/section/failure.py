"""Why trials ended without a result, and which attempts failed on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from search.report.document.block import Block, Fold, Section, Table, Text
from search.report.overview import Overview, TrialView

MAX_ROWS = 200


def failures(overview: Overview) -> Section:
    """Return what went wrong."""
    return Section("failures", "Trials without a result", list(_blocks(overview)))


def _blocks(overview: Overview) -> Iterator[Block]:
    lacking = [t for t in overview.trials if t.state in ("pruned", "fail") or t.is_dropped]
    attempts = [(trial, each) for trial in overview.trials for each in trial.failed]
    if not lacking and not attempts:
        yield Text("Every trial that has ended has a result, and no attempt failed.")
        return
    if lacking:
        states = Counter("dropped" if t.is_dropped else t.state for t in lacking)
        names = {"fail": "failed"}
        counts = ", ".join(f"{n:,} {names.get(state, state)}" for state, n in states.items())
        yield Text(f"{counts} of {len(overview.trials):,} trials.")
        failed = [trial for trial in lacking if trial.state == "fail"]
        early = [trial for trial in lacking if trial.state != "fail"]
        if failed:
            yield from _table("Failed trials", failed)
        if early:
            title = "Pruned and dropped trials"
            yield Fold(title, list(_table(title, early)))
    if attempts:
        rows = [
            [f"{trial.number}.{each.attempt}", each.kind.value, str(each.step), each.reason]
            for trial, each in attempts[:MAX_ROWS]
        ]
        head = ["attempt", "what", "last checkpoint's step", "reason"]
        yield Table("Attempts that were interrupted or failed", head, rows)
        yield from _more(len(attempts))


def _table(title: str, trials: Sequence[TrialView]) -> Iterator[Block]:
    rows = [[str(t.number), t.state, t.reason or "-"] for t in trials[:MAX_ROWS]]
    yield Table(title, ["trial", "state", "reason"], rows)
    yield from _more(len(trials))


def _more(num: int) -> Iterator[Block]:
    if num > MAX_ROWS:
        yield Text(f"{num - MAX_ROWS} more are in trials.csv.", is_note=True)
