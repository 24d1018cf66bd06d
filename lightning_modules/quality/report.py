"""All findings of a check, and what it left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_modules.quality.broken import Broken
from lightning_modules.quality.finding import Finding


@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes:
        findings: What was found, in the order of the report.
        left_out: By finding, why it was not looked for, or in which rows alone.
        notes: Warnings of the reader.

    """

    findings: Sequence[Finding]
    left_out: Mapping[str, str]
    notes: Sequence[str] = ()

    @property
    def faults(self) -> list[Finding]:
        """The findings that are worth reading before training."""
        return [each for each in self.findings if each.is_fault]

    @property
    def is_refused(self) -> bool:
        """Whether a sweep would refuse the data."""
        return any(isinstance(each, Broken) and each.is_fault for each in self.findings)

    def lines(self) -> Iterator[str]:
        """Yield the report: a line per finding, with examples below it."""
        for each in self.findings:
            yield f"{each.name:<12}{each.line()}"
            yield from (f"    {line}" for line in each.details())
        yield from (f"{'note':<12}{note}" for note in self.notes)
        yield from (f"{'left out':<12}{name}: {why}" for name, why in self.left_out.items())

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "findings": {each.name: each.as_dict() for each in self.findings},
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
            "is_refused": self.is_refused,
        }
