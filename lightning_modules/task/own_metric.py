"""A metric of the user's own: `task.metric=my_package.metrics:score`.

    def score(predictions, rows) -> float

gets for each row what `finesweep predict` writes, e.g. `{"prediction": "spam", "scores": {...}}`,
and the row with its `text`, `text_pair` and `label`. It returns a finite number.

The name comes from a configuration, which may be a stranger's. So only a package that
`search.plugins` names is imported, like classes of the user's own.
"""

from __future__ import annotations

import importlib
import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.rows.corpus import Row

NUM_TRIED = 20
"""Rows on which the function is tried before the training."""
DIRECTIONS = ("maximize", "minimize")
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")

Answers = Sequence[Mapping[str, Any]]
Score = Callable[[list[dict[str, Any]], list[dict[str, Any]]], Any]


def is_own(metric: str) -> bool:
    """Return whether a metric is the name of a function.

    >>> is_own("my_package.metrics:score"), is_own("accuracy")
    (True, False)
    """
    return _NAME.fullmatch(metric) is not None


def direction_problems(metric: str, direction: str | None) -> Iterator[Problem]:
    """Yield a problem if the direction of the user's own metric is not named."""
    if is_own(metric) and direction not in DIRECTIONS:
        fix = "Set task.metric_direction=maximize if more is better."
        rule = f"must be maximize or minimize for {metric}"
        yield Problem("metric_direction", rule, direction, fix)


def check_own(metric: str, packages: Sequence[str]) -> None:
    """Raise ConfigError if a function may not be used, cannot be imported, or cannot be called.

    Args:
        metric: Its name.
        packages: The packages that may be imported.

    """
    package = metric.partition(":")[0].split(".")[0]
    if package not in packages:
        rule = f"search.plugins must name the package of {metric}"
        got = Verbatim(f"[{', '.join(packages)}]")
        fix = f"If you trust its code, add 'search.plugins=[{','.join((*packages, package))}]'."
        raise ConfigError(Problem("task.metric", rule, got, fix))
    try:
        inspect.signature(_function(metric)).bind([], [])
    except (TypeError, ValueError) as error:
        rule = "must be a function of two arguments, predictions and rows"
        raise ConfigError(Problem("task.metric", rule, metric, f"{error}.")) from None


def own_score(metric: str, answers: Answers, rows: Sequence[Row]) -> float:
    """Return what the function makes of rows and their answers.

    Raises:
        ConfigError: It raises, or does not return a finite number.

    """
    function = _function(metric)
    try:
        found = function(list(map(_copied, answers)), list(map(_copied, rows)))
        if isinstance(found, str):  # float() would read it
            raise TypeError("it returned a text")
        value = float(found)
    except (Exception, SystemExit) as error:  # the user's function may raise anything
        first = (str(error) or "no message").splitlines()[0]
        rule = f"{metric} must return a number"
        got = Verbatim(f"{type(error).__name__}: {first}{_line_of(error)}")
        raise ConfigError(Problem("task.metric", rule, got, "Mend the function.")) from error
    if not math.isfinite(value):
        raise ConfigError(Problem("task.metric", f"{metric} must return a finite number", value))
    return value


def _function(metric: str) -> Score:
    module, _, name = metric.partition(":")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except (Exception, SystemExit) as error:  # a script may end the process
        rule = "must be in a module that can be imported"
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        fix = f"{reason}. For a module of this folder: export PYTHONPATH=."
        raise ConfigError(Problem("task.metric", rule, metric, fix)) from None
    if not callable(found):
        rule = f"{module} must have a function {name}"
        raise ConfigError(Problem("task.metric", rule, metric))
    function: Score = found
    return function


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row that the function may change, with its list of labels."""
    return {name: _copy_of(value) for name, value in values.items()}


def _copy_of(value: Any) -> Any:
    return value.copy() if isinstance(value, list | dict) else value


def _line_of(error: BaseException) -> str:
    """Return where the user's own code raised, in words."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename != __file__:
            place = f" ({code.co_filename}:{trace.tb_lineno})"
        trace = trace.tb_next
    return place
