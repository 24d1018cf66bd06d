"""Rows and files that cannot be read, each with its place, the rule and the fix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lightning_modules.error import Problem
from lightning_modules.quality.finding import MAX_LISTED, Finding, count

NUM_PRINTED = 20


@dataclass(frozen=True)
class Broken(Finding):
    """What is refused: training does not start before it is mended."""

    problems: Sequence[Problem]

    name: ClassVar[str] = "broken"

    @property
    def is_fault(self) -> bool:
        return bool(self.problems)

    def line(self) -> str:
        if not self.problems:
            return "every row can be read"
        return f"{count(len(self.problems), 'place')} that sweep refuses"

    def details(self) -> Iterator[str]:
        yield from map(str, self.problems[:NUM_PRINTED])
        if len(self.problems) > NUM_PRINTED:
            yield f"and {len(self.problems) - NUM_PRINTED:,} more; --json lists them"

    def as_dict(self) -> dict[str, Any]:
        listed = [
            {"where": each.where, "rule": each.rule, "got": str(each.got), "fix": each.fix}
            for each in self.problems[:MAX_LISTED]
        ]
        number = len(self.problems)
        return {"line": self.line(), "is_fault": self.is_fault, "number": number, "rows": listed}
