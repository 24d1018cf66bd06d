"""A setting as an axis: numbers, logarithmic if its range is, or names in their order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search.report.document.chart import Axis
from search.report.overview import Overview
from search.report.text import setting

MAX_NAMED = 6
"""Distinct numbers up to which each has a place of its own, at equal distances."""


@dataclass(frozen=True)
class SettingAxis:
    """A setting as an axis.

    Attributes:
        path: Its config path.
        axis: The axis.
        is_ordered: Whether its values are numbers.

    """

    path: str
    axis: Axis
    is_ordered: bool

    def position(self, values: Mapping[str, Any]) -> float | None:
        """Return the place of a trial's value on the axis; None if the trial has none."""
        if self.path not in values:
            return None
        if self.axis.names:
            return float(self.axis.names.index(setting(values, self.path)))
        return float(values[self.path])


def setting_axis(overview: Overview, path: str) -> SettingAxis:
    """Return the axis on which all trials' values of a setting have a place."""
    trials = [trial.values for trial in overview.trials if path in trial.values]
    values = [each[path] for each in trials]
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(numbers) < len(values) or not numbers or not all(map(math.isfinite, numbers)):
        return SettingAxis(path, Axis(path, names=_names(overview, path, trials)), False)
    if len(set(numbers)) <= MAX_NAMED:
        names = (setting({path: value}, path) for value in sorted(set(numbers)))
        return SettingAxis(path, Axis(path, names=tuple(names)), True)
    ranges = [arm[path].distribution for arm in overview.space.arms.values() if path in arm]
    is_log = any(getattr(each, "log", False) for each in ranges) and min(numbers) > 0
    return SettingAxis(path, Axis(path, is_log=is_log), True)


def _names(overview: Overview, path: str, trials: list[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the texts of all values: choices in the order of their range, then all others."""
    choices = [
        value
        for arm in overview.space.arms.values()
        if path in arm
        for value in arm[path].values or ()
    ]
    options = overview.space.groups.get(path, ())
    known = [setting({path: value}, path) for value in (*options, *choices)]
    used = {setting(values, path): None for values in trials}
    return tuple(dict.fromkeys([*(name for name in known if name in used), *used]))


def varying(overview: Overview) -> list[SettingAxis]:
    """Return the settings of which trials have different values, the most important one first."""
    influences = overview.influences.arms
    order = [path for each in influences for path in each.order]
    paths = dict.fromkeys([*overview.space.groups, *order, *overview.space.paths])
    return [
        setting_axis(overview, path)
        for path in paths
        if len({setting(trial.values, path) for trial in overview.trials}) > 1
    ]
