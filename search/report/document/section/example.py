"""What the winner answers: its confusion matrix or examples, and what changed from the default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lightning_modules.task.base import GENERATED, MISTAKES
from lightning_modules.task.metric.confusion import CONFUSION, confusion_counts
from search.report.document.block import Block, Figure, Section, Table, Text
from search.report.document.chart import SHADES, Axis, Cells, Chart
from search.report.overview import Overview
from search.report.text import number

MAX_LABELS = 20
MAX_EXAMPLES = 8
MAX_CHARACTERS = 300

Records = Sequence[Mapping[str, Any]]


def examples(overview: Overview) -> Section | None:
    """Return the answers of the winner; None if none were kept."""
    best = {} if overview.best is None else overview.tables.get(overview.best, {})
    if not any(best.values()):
        return None
    default: Mapping[str, Records] = {}
    if overview.default is not None and overview.default != overview.best:
        default = overview.tables.get(overview.default, {})
    return Section("answers", "Answers on validation rows", list(_blocks(best, default)))


def _blocks(best: Mapping[str, Records], default: Mapping[str, Records]) -> Iterator[Block]:
    if best.get(CONFUSION):
        yield from _confusion(best[CONFUSION], default.get(CONFUSION))
    if best.get(MISTAKES) or default.get(MISTAKES):
        yield from _mistakes(best.get(MISTAKES, ()), default.get(MISTAKES, ()))
    if best.get(GENERATED):
        title = "Texts that the winner wrote"
        yield from _records(title, best[GENERATED])


def _confusion(records: Records, before: Records | None) -> Iterator[Block]:
    labels, counts = confusion_counts(records)
    if len(labels) > MAX_LABELS:
        yield Text(f"The confusion matrix of {len(labels)} labels is in the trial's folder.")
        return
    shades = [[_shade(count, sum(row)) for count in row] for row in counts]
    chart = Chart(
        title="Confusion matrix of the winner",
        alt="; ".join(
            f"of {sum(row)} {label}, {row[at]} right"
            for at, (label, row) in enumerate(zip(labels, counts, strict=True))
        )
        + ".",
        x=Axis("predicted", names=tuple(labels)),
        y=Axis("true label", names=tuple(reversed(labels))),
        series=(),
        cells=Cells(
            list(range(len(labels))),
            list(range(len(labels))),
            list(reversed(shades)),
            [[str(count) for count in row] for row in reversed(counts)],
        ),
        height=110 + 36 * len(labels),
        is_small=len(labels) <= 4,
    )
    head = ["true label", *(f"predicted {label}" for label in labels)]
    rows = [[label, *map(str, row)] for label, row in zip(labels, counts, strict=True)]
    yield Figure(chart, "Rows are shaded by their shares.", Table(chart.title, head, rows))
    if before is None:
        return
    names, old = confusion_counts(before)
    if names == labels:
        changes = [
            [label, *(f"{new - was:+d}" for new, was in zip(row, past, strict=True))]
            for label, row, past in zip(labels, counts, old, strict=True)
        ]
        yield Table("What changed from the default to the winner", head, changes)


def _shade(count: int, total: int) -> int | None:
    return min(len(SHADES) - 1, count * len(SHADES) // total) if count else None


def _mistakes(best: Records, default: Records) -> Iterator[Block]:
    if not default:
        yield from _records("Wrong answers of the winner, the most confident ones first", best)
        return
    still, was = ({_input(record): record for record in each} for each in (best, default))
    mended = [record for key, record in was.items() if key not in still]
    new = [record for key, record in still.items() if key not in was]
    counts = f"{len(mended)} of the default's listed mistakes are not among the winner's"
    yield Text(f"{counts}, and {len(new)} of the winner's are new. Each list ends at 100 mistakes.")
    if mended:
        yield from _records("Mistakes of the default alone", mended)
    if new:
        yield from _records("Mistakes of the winner alone", new)


def _input(record: Mapping[str, Any]) -> str:
    """Return what identifies a row: its first column, which is its text."""
    return str(next(iter(record.values()), ""))


def _records(title: str, records: Records) -> Iterator[Block]:
    shown = records[:MAX_EXAMPLES]
    head = list(dict.fromkeys(name for record in shown for name in record))
    rows = [[_cell(record.get(name)) for name in head] for record in shown]
    more = f" ({len(shown)} of {len(records)})" if len(records) > len(shown) else ""
    yield Table(f"{title}{more}", head, rows)


def _cell(value: object) -> str:
    text = value if isinstance(value, str) else number(value)
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…"
