"""The ranges of a study, and how they changed since it began."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from search.space.space import Parameter, Space
from search.storage.attribute import RANGES
from search.study.study import Study


def ranges(space: Space) -> Mapping[str, Parameter]:
    """Return the parameters by name, without the choices of groups."""
    return {n: p for n, p in space.parameters.items() if n not in space.groups}


def changes(before: Space, now: Space) -> Mapping[str, tuple[Parameter, Parameter]]:
    """Return the old and the new parameter, by name, of each range that both have and differs."""
    old, new = ranges(before), ranges(now)
    return {
        name: (was, new[name])
        for name, was in old.items()
        if name in new and new[name].distribution != was.distribution
    }


def record_changes(study: Study, before: Space) -> None:
    """Store how the study's ranges differ from those before, with the time."""
    time = datetime.now().isoformat(timespec="seconds")
    changed = changes(before, study.plan.space).items()
    if changed:
        storage = study.optuna._storage
        known = storage.get_study_system_attrs(study.id).get(RANGES, [])
        now = [
            {"time": time, "name": name, "old": was.text, "new": is_now.text}
            for name, (was, is_now) in changed
        ]
        storage.set_study_system_attr(study.id, RANGES, [*known, *now])
