"""What was found in the rows before the first trial."""

from __future__ import annotations

from search.report.document.block import Block, Fold, Section, Table
from search.report.overview import Overview


def data(overview: Overview) -> Section | None:
    """Return the data report; None if the rows were not checked."""
    if not overview.findings:
        return None
    faults = [[name, line] for name, (line, is_fault) in overview.findings.items() if is_fault]
    others = [[name, line] for name, (line, is_fault) in overview.findings.items() if not is_fault]
    blocks: list[Block] = []
    head = ["looked for", "found"]
    if faults:
        blocks.append(Table("Worth a look", head, faults))
    if others:
        blocks.append(Fold("Checked without a fault", [Table("Checked", head, others)]))
    return Section("data", "Data", blocks)
