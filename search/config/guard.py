"""Guards from `search.guards`: each entry a name, or a mapping with these keys.

    data      `forgetting` (neutral text that ships with finesweep), a data set of `conf/data`, e.g.
              `reviews`, the path of a file, or `lm_eval:TASK`
    metric    a metric of the run's task, or `loss`; on plain text also `perplexity` and the like
    at_most   the last value that holds: a number, or a share of the untouched model's, e.g. `+5%`
    at_least  the same for a metric of which more is better, e.g. `-2%`
    rows      score at most so many rows; all by default
    name      what it is called; by default after its data

`forgetting` alone stands for `{data: forgetting, metric: loss, at_most: +5%}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from lightning_modules.error import ConfigError, Problem, UserError, did_you_mean
from lightning_modules.guard.base import Bound, Guard, Source, parse_bound
from search.config.build import Tree, build_data
from search.config.length import USUAL_TOKENS
from search.config.plugin import PLUGINS, packages_of
from search.config.prior import AUTO
from search.config.tree import CONF_DIR

KEY = "search.guards"
KEYS = ("data", "metric", "at_most", "at_least", "rows", "name")
FORGETTING = "forgetting"
BOUNDS = ("at_most", "at_least")
DEFAULT: Mapping[str, Any] = {"data": FORGETTING, "metric": "loss", "at_most": "+5%"}


def build_guards(tree: Tree) -> tuple[Guard, ...]:
    """Return the guards of a sweep's tree.

    Raises:
        ConfigError: Lists every entry that is no guard.

    """
    guards: list[Guard] = []
    problems: list[Problem] = []
    for number, entry in enumerate(tree["search"].get("guards") or ()):
        where = f"{KEY}.{number}"
        values = DEFAULT if entry == FORGETTING else entry
        found = list(_entry_problems(values, where))
        if not found:
            try:
                guards.append(_guard(tree, values))
            except UserError as error:
                found = [problem.under(where) for problem in error.problems]
        problems += found
    names = [guard.name for guard in guards]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(Problem(KEY, "names must differ", name, "Give one of them name: NAME."))
    if problems:
        raise ConfigError(problems)
    return tuple(guards)


def _entry_problems(values: Any, where: str) -> Iterator[Problem]:
    fix = "Write forgetting, or {data: old.csv, metric: accuracy, at_least: -2%}."
    if not isinstance(values, Mapping):
        yield Problem(where, "must be forgetting, or a mapping", values, fix)
        return
    for key in values:
        if key not in KEYS:
            yield Problem(f"{where}.{key}", "must be a known key", key, did_you_mean(key, KEYS))
    for key in ("data", "metric", "name"):
        if key in values or key != "name":
            value = values.get(key)
            if not isinstance(value, str) or not value:
                yield Problem(f"{where}.{key}", "must be text", value, fix)
    given = [key for key in BOUNDS if values.get(key) is not None]
    if len(given) != 1:
        yield Problem(where, "must have either at_most or at_least", dict(values), fix)
    for key in given:
        if parse_bound(values[key], is_most=key == BOUNDS[0]) is None:
            rule = "must be a number, or a share of the untouched model's value"
            yield Problem(f"{where}.{key}", rule, values[key], f"Write e.g. {key}: +5%.")
    rows = values.get("rows")
    if rows is not None and (not isinstance(rows, int) or isinstance(rows, bool) or rows < 1):
        yield Problem(f"{where}.rows", "must be a whole number > 0", rows)


def _guard(tree: Tree, values: Mapping[str, Any]) -> Guard:
    data = str(values["data"])
    source, name = _source(tree, data)
    return Guard(
        name=values.get("name", name),
        source=source,
        metric=values["metric"],
        bound=_bound(values),
        max_rows=values.get("rows"),
    )


def _bound(values: Mapping[str, Any]) -> Bound:
    key = next(key for key in BOUNDS if values.get(key) is not None)
    bound = parse_bound(values[key], is_most=key == BOUNDS[0])
    assert bound is not None, "its problems were listed"
    return bound


def _source(tree: Tree, data: str) -> tuple[Source, str]:
    """Return where a guard's data come from, and the guard's default name.

    Raises:
        ConfigError: It is a file that may run code, and nobody has allowed it.

    """
    # Most studies have no guard, and commands start without what these import.
    from lightning_modules.guard.harness import HARNESS, PREFIX, TASK_FILE, Harness
    from lightning_modules.guard.language import Neutral
    from lightning_modules.guard.source import DataRows, FileRows

    if data == FORGETTING:
        return Neutral(), FORGETTING
    if data.startswith(PREFIX):
        if data.endswith(TASK_FILE) and HARNESS not in packages_of(tree):
            rule = f"a task file may run code of its own, so {PLUGINS} must name {HARNESS}"
            fix = f"If you trust the file, add '{PLUGINS}=[{HARNESS}]'."
            raise ConfigError(Problem("data", rule, data, fix))
        return Harness(data.removeprefix(PREFIX)), data
    option = CONF_DIR / "data" / f"{data}.yaml"
    if option.is_file() and Path(data).name == data:
        node = yaml.safe_load(option.read_text("utf-8"))
        if node.get("max_length") == AUTO:  # texts are cut as the run's are
            node["max_length"] = USUAL_TOKENS
        return DataRows(build_data(tree, node)), data
    return FileRows(Path(data)), Path(data).stem
