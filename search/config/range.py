"""Convert Hydra's sweep grammar into Optuna's distributions.

`choice(a,b)` is categorical, `range(1,5)` the whole numbers 1 to 4 (the end is excluded, as in
Python), `interval(0,1)` a real number, `tag(log,interval(1e-5,1e-2))` one on a log scale.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, RangeSweep
from hydra.errors import HydraException

from lightning_modules.error import Problem, SpaceError, Verbatim
from search.config.grammar import parse

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_FORMS = "Use choice(a,b), range(1,5), interval(0,1) or tag(log,interval(1e-5,1e-2))."


def parse_range(path: str, text: str, current: Any) -> BaseDistribution:
    """Return the distribution of config path `path`, whose current value is `current`.

    Raises:
        SpaceError: The text is not a range, or the range is empty or impossible.

    """
    try:
        sweep = parse(f"key={text}").value()
    except HydraException as error:
        reason = str(error).splitlines()[0]
        raise SpaceError(
            Problem(path, "must be a range", Verbatim(text), f"{reason} {_FORMS}")
        ) from None
    if isinstance(sweep, ChoiceSweep):
        return _categorical(path, text, sweep)
    if isinstance(sweep, RangeSweep):
        return _stepped(path, text, sweep)
    if isinstance(sweep, IntervalSweep):
        return _interval(path, text, sweep, whole=isinstance(current, int))
    raise SpaceError(Problem(path, "must be a range", Verbatim(text), _FORMS))


def steps_problem(path: str, text: str) -> Problem | None:
    """Return the problem of a range of real numbers whose steps leave it one value, or none.

    Earlier versions searched such ranges, so studies that have one still open.

    >>> str(steps_problem("lr", "tag(log,range(1e-5,1e-2))")).partition(",")[0]
    'lr: a log range with steps has no points between its ends'
    """
    sweep = parse(f"key={text}").value()
    if not isinstance(sweep, RangeSweep):
        return None
    start, stop, step = sweep.start, sweep.stop, sweep.step
    assert start is not None and stop is not None
    if all(isinstance(value, int) for value in (start, stop, step)):
        return None
    interval = f"interval({start:g},{stop:g})"
    if "log" in sweep.tags:
        rule = "a log range with steps has no points between its ends"
        fix = f"Write tag(log,{interval}), or list the values: choice(...)."
        return Problem(path, rule, Verbatim(text), fix)
    if start + step * (1 + 1e-9) >= stop:
        rule = f"a range in steps of {step:g} must have more than one value"
        return Problem(path, rule, Verbatim(text), f"Write {interval}, or a smaller step.")
    return None


def _categorical(path: str, text: str, sweep: ChoiceSweep) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution

    if sweep.tags:
        raise SpaceError(Problem(path, "a choice has no tags", Verbatim(text)))
    choices: list[str | int | float | bool | None] = []
    for element in sweep.list:
        choice = getattr(element, "text", element)
        if not isinstance(choice, str | int | float | bool | None):
            rule = "choices must be text, numbers, true, false or null"
            raise SpaceError(Problem(path, rule, Verbatim(text)))
        choices.append(choice)
    # Optuna treats 1 and 1.0 as equal; here 1 and true differ.
    if len({(isinstance(choice, bool), choice) for choice in choices}) < len(choices):
        raise SpaceError(Problem(path, "choices must differ", Verbatim(text)))
    return CategoricalDistribution(choices)


def _stepped(path: str, text: str, sweep: RangeSweep) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    start, stop, step = sweep.start, sweep.stop, sweep.step
    assert start is not None and stop is not None
    _check_order(path, text, "range", start, stop)
    if step <= 0:
        raise SpaceError(Problem(path, "the step must be > 0", Verbatim(text)))
    log = _log_tag(path, text, sweep.tags, start)
    if log and step != 1:
        raise SpaceError(Problem(path, "a log range has no step", Verbatim(text)))
    if all(isinstance(value, int) for value in (start, stop, step)):
        last = start + (stop - 1 - start) // step * step
        return IntDistribution(int(start), int(last), log=log, step=int(step))
    # The end is excluded, as in Python; 1e-9 tolerates rounding such as 0.1 + 0.2.
    # In decimals, because 0.1 + 0.1 + 0.1 is not 0.3 in binary, and Optuna warns of the difference.
    end = Decimal(str(start)) + int((stop - start) / step - 1e-9) * Decimal(str(step))
    return FloatDistribution(float(start), float(end), step=None if log else step, log=log)


def _interval(path: str, text: str, sweep: IntervalSweep, *, whole: bool) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high = sweep.start, sweep.end
    assert low is not None and high is not None
    _check_order(path, text, "interval", low, high)
    log = _log_tag(path, text, sweep.tags, low)
    if whole and float(low).is_integer() and float(high).is_integer():
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _check_order(path: str, text: str, kind: str, low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high)):
        raise SpaceError(Problem(path, "both ends must be finite", Verbatim(text)))
    if not low < high:
        fix = f"Write {kind}({min(low, high):g},{max(low, high):g})."
        raise SpaceError(Problem(path, "must have low < high", Verbatim(text), fix))


def _log_tag(path: str, text: str, tags: set[str], low: float) -> bool:
    unknown = tags - {"log"}
    if unknown:
        raise SpaceError(Problem(path, "the only known tag is log", Verbatim(text)))
    if "log" in tags and low <= 0:
        fix = "A log scale has no zero; start above it."
        raise SpaceError(Problem(path, "a log range must start > 0", Verbatim(text), fix))
    return "log" in tags
