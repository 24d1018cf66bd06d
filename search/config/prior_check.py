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

_MODELS, _STEPS, _EPOCHS, _SAME, _OTHERS = "models", "steps", "epochs", "same", "others"


def table_problems(tree: Any, settings: Settings, tasks: Collection[str] = ()) -> Iterator[Problem]:
    """Yield the problems of a table as it was read from its file.

    Args:
        tree: What the file has.
        settings: The settings of each strategy.
        tasks: The tasks that there are.

    """
    if not isinstance(tree, dict) or not all(isinstance(each, dict) for each in tree.values()):
        fix = "Write it like conf/prior.yaml."
        yield Problem("rows", "must be a mapping for each strategy", Verbatim(f"{tree}"), fix)
        return
    for key, entries in tree.items():
        if key == _MODELS:
            for name, known in entries.items():
                yield from _fits_problems(f"{_MODELS}.{name}", known, ("kind", "parameters"))
        elif key == _STEPS:
            yield from _number_problems(_STEPS, entries, "strategy", settings)
        elif key == _EPOCHS:
            yield from _number_problems(_EPOCHS, entries, "task", tasks)
        elif key == _SAME:
            for name, other in entries.items():
                yield from _unknown(f"{_SAME}.{name}", name, settings)
                yield from _unknown(f"{_SAME}.{name}", other, settings)
        else:
            yield from _unknown(str(key), key, (*settings, _MODELS, _STEPS, _EPOCHS, _SAME))
            for name, row in entries.items():
                yield from _row_problems(f"{key}.{name}", row, settings.get(str(key)), tasks)


def _unknown(
    where: str, name: Any, known: Collection[str], group: str = "strategy"
) -> Iterator[Problem]:
    if name not in known:
        rule = f"must be a {group} that has a file in {group}/"
        yield Problem(where, rule, name, did_you_mean(str(name), known))


def _number_problems(
    section: str, entries: Mapping[Any, Any], group: str, known: Collection[str]
) -> Iterator[Problem]:
    for name, number in entries.items():
        yield from _unknown(f"{section}.{name}", name, (*known, _OTHERS), group)
        if not isinstance(number, int) or not _is_number(number):
            yield Problem(f"{section}.{name}", "must be a whole number > 0", number)


def _row_problems(
    where: str, row: Any, settings: Collection[str] | None, tasks: Collection[str]
) -> Iterator[Problem]:
    known = [each.name for each in fields(Row) if each.name != "name"]
    if not isinstance(row, dict) or "fits" not in row:
        yield Problem(where, f"must have the keys {', '.join(known)}", row)
        return
    for key in row.keys() - set(known):
        fix = did_you_mean(str(key), known)
        yield Problem(f"{where}.{key}", "must be a known key", Verbatim(str(key)), fix)
    if row["fits"]:
        needed = () if isinstance(row["fits"], dict) and "task" in row["fits"] else ("kind",)
        yield from _fits_problems(f"{where}.fits", row["fits"], needed, tasks)
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


def _fits_problems(
    where: str, fits: Any, needed: Sequence[str], tasks: Collection[str] | None = None
) -> Iterator[Problem]:
    if not isinstance(fits, dict) or not set(needed) <= fits.keys():
        yield Problem(where, f"must have {' and '.join(needed)}", fits)
        return
    numbers = ("up_to", "parameters")
    known = ("kind", "experts", *numbers, *(() if tasks is None else ("task",)))
    for key, value in fits.items():
        kinds = [kind.value for kind in Kind]
        if key == "kind" and value not in kinds:
            fix = did_you_mean(str(value), kinds)
            yield Problem(f"{where}.kind", f"must be one of {', '.join(kinds)}", value, fix)
        elif key in numbers and not _is_number(value):
            yield Problem(f"{where}.{key}", "must be a number of parameters > 0", value)
        elif key == "task" and tasks is not None:
            yield from _unknown(f"{where}.task", value, tasks, "task")
        elif key not in known:
            fix = did_you_mean(str(key), known)
            yield Problem(f"{where}.{key}", "must be a known key", Verbatim(str(key)), fix)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
