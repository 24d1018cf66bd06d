"""Check a table of priors: strategies, their settings, kinds and sizes of models, and numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from lightning_modules.error import Problem, Verbatim, did_you_mean
from lightning_modules.model.kind import Kind
from search.config.prior import Row

Settings = Mapping[str, Collection[str] | None]
"""The settings of each strategy, e.g. `lora`: `lr`, `rank`, ...; None if they are not known."""

_MODELS, _STEPS, _SAME, _OTHERS = "models", "steps", "same", "others"


def table_problems(tree: Any, settings: Settings) -> Iterator[Problem]:
    """Yield the problems of a table as it was read from its file."""
    if not isinstance(tree, dict) or not all(isinstance(each, dict) for each in tree.values()):
        fix = "Write it like conf/prior.yaml."
        yield Problem("rows", "must be a mapping for each strategy", Verbatim(f"{tree}"), fix)
        return
    for key, entries in tree.items():
        if key == _MODELS:
            for name, known in entries.items():
                yield from _fits_problems(f"{_MODELS}.{name}", known, ("kind", "parameters"))
        elif key == _STEPS:
            yield from _steps_problems(entries, settings)
        elif key == _SAME:
            for name, other in entries.items():
                yield from _unknown(f"{_SAME}.{name}", name, settings)
                yield from _unknown(f"{_SAME}.{name}", other, settings)
        else:
            yield from _unknown(str(key), key, (*settings, _MODELS, _STEPS, _SAME))
            for name, row in entries.items():
                yield from _row_problems(f"{key}.{name}", row, settings.get(str(key)))


def _unknown(where: str, name: Any, known: Collection[str]) -> Iterator[Problem]:
    if name not in known:
        rule = "must be a strategy that has a file in strategy/"
        yield Problem(where, rule, name, did_you_mean(str(name), known))


def _steps_problems(entries: Mapping[Any, Any], settings: Settings) -> Iterator[Problem]:
    for name, steps in entries.items():
        yield from _unknown(f"{_STEPS}.{name}", name, (*settings, _OTHERS))
        if not isinstance(steps, int) or not _is_number(steps):
            yield Problem(f"{_STEPS}.{name}", "must be a whole number > 0", steps)


def _row_problems(where: str, row: Any, settings: Collection[str] | None) -> Iterator[Problem]:
    known = [each.name for each in fields(Row) if each.name != "name"]
    if not isinstance(row, dict) or "fits" not in row:
        yield Problem(where, f"must have the keys {', '.join(known)}", row)
        return
    for key in row.keys() - set(known):
        fix = did_you_mean(str(key), known)
        yield Problem(f"{where}.{key}", "must be a known key", Verbatim(str(key)), fix)
    if row["fits"]:
        yield from _fits_problems(f"{where}.fits", row["fits"], ("kind",))
    values, also = row.get("values", {}), row.get("also", [])
    if not isinstance(values, dict) or not isinstance(also, list):
        rule, got = "must have a mapping of values and a list of also", Verbatim(f"{row}")
        yield Problem(where, rule, got, "Write it like conf/prior.yaml.")
        return
    for key, value in values.items():
        if settings is not None and key not in settings:
            fix = did_you_mean(str(key), settings)
            yield Problem(f"{where}.values.{key}", "must be a setting of the strategy", key, fix)
        if not _is_number(value):
            yield Problem(f"{where}.values.{key}", "must be a number > 0", value)
    rates: list[Any] = [values.get(key) for key in ("lr_min", "lr", "lr_max")]
    low, middle, high = rates
    numbers = all(_is_number(value) for value in (low, middle, high))
    if numbers and not low <= middle <= high:
        rule = f"must be from lr_min={low} to lr_max={high}"
        yield Problem(f"{where}.values.lr", rule, middle)
    for number, values in enumerate(also):
        if not isinstance(values, dict):
            rule, fix = "must map config paths to values", "Write {optimizer.lr: 3e-4}."
            yield Problem(f"{where}.also.{number}", rule, values, fix)


def _fits_problems(where: str, fits: Any, needed: Sequence[str]) -> Iterator[Problem]:
    if not isinstance(fits, dict) or not set(needed) <= fits.keys():
        yield Problem(where, f"must have {' and '.join(needed)}", fits)
        return
    numbers = ("up_to", "parameters")
    for key, value in fits.items():
        kinds = [kind.value for kind in Kind]
        if key == "kind" and value not in kinds:
            fix = did_you_mean(str(value), kinds)
            yield Problem(f"{where}.kind", f"must be one of {', '.join(kinds)}", value, fix)
        elif key in numbers and not _is_number(value):
            yield Problem(f"{where}.{key}", "must be a number of parameters > 0", value)
        elif key not in ("kind", "experts", *numbers):
            fix = did_you_mean(str(key), ("kind", "experts", *numbers))
            yield Problem(f"{where}.{key}", "must be a known key", Verbatim(str(key)), fix)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
