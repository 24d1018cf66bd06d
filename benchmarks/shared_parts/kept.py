"""Results of hours in a file of JSON lines, so that a benchmark that was stopped continues."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Results:
    """The results so far.

    Attributes:
        path: The file; None keeps nothing.
        name: The key of a result in its line. The other one is `cell`: what was measured.

    """

    path: Path | None
    name: str

    def get_or_run(
        self, cell: Mapping[str, Any], run: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """Return the result of a cell from the file, or run it and write it there."""
        if self.path is not None and self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                kept = json.loads(line)
                if kept["cell"] == cell:
                    found: dict[str, Any] = kept[self.name]
                    return found
        new = run()
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"cell": cell, self.name: new}) + "\n")
        return new
