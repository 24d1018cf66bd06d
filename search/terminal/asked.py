"""What commands print for a loop of the caller's own: how to ask, and what it was given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search.report.text import columns, setting
from search.space.space import Space
from search.study.study import Study


def next_commands(study: Study) -> list[str]:
    """Return how a loop asks for trials, and where they are seen."""
    name = study.plan.name
    left = study.plan.num_trials - study.num_ended
    return [
        f"{left} of {study.plan.num_trials} trials remain. A loop of yours trains them:",
        f"  finesweep ask study={name}",
        f"  finesweep report study={name} trial=N step=S loss=L",
        f"  finesweep tell study={name} trial=N value=V",
        f"  finesweep status study={name}",
    ]


def setting_lines(space: Space, values: Mapping[str, Any]) -> list[str]:
    """Return one line per setting of a trial, aligned."""
    paths = [path for path in space.paths if path in values]
    return columns([[f"  {path}", setting(values, path)] for path in paths])
