"""Check every range's corners before the first trial, so that every trial can be trained.

A value that cannot be trained would end the sweep. So each range is tried at its corners (both ends
of an interval, or every choice), first alone and then in pairs, because some rules relate two
settings. The other searched paths keep their defaults, or their first corner if the default lies
outside the range: so every combination could be suggested.

Cost: about 10 ms per corner. If a range decides the rows, they are read again: for the smallest
number of a numeric range, or for every choice of names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations, product
from typing import Any

from lightning_modules.check import CheckedRows, check_fit, checked_rows
from lightning_modules.error import Problem, SpaceError, UserError, Verbatim
from lightning_modules.rows.corpus import Corpus
from lightning_modules.run import Run
from search.config import Arm, build_run, leaves
from search.plan.plan import Plan
from search.plan.ranges import default_values
from search.space.space import Parameter, Values


def check_corners(plan: Plan, rows: CheckedRows) -> None:
    """Raise SpaceError if a range has a corner that the other settings or the rows refuse.

    Also if a range has no effect, because the only key that refers to it is searched itself.

    Args:
        plan: The plan; its defaults are known to be trainable.
        rows: The checked rows of the defaults.

    """
    problems: dict[str, Problem] = {}
    corpora: dict[str, Corpus] = {}
    arms = zip(plan.composition.arms, plan.space.arms.values(), strict=True)
    for (arm, parameters), default in zip(arms, plan.defaults.values(), strict=True):
        problems |= {str(problem): problem for problem in _unread(arm, parameters)}
        check = _CornerCheck(arm, default, parameters, rows, corpora)
        problems |= {str(problem): problem for problem in check.problems()}
    if problems:
        raise SpaceError(problems.values())


def _unread(arm: Arm, parameters: Mapping[str, Parameter]) -> Iterator[Problem]:
    """Yield a problem for each range over a path that only another searched path reads."""
    written = leaves(arm.tree)
    readers = {str(written.get(path)): path for path in parameters}
    for path, parameter in parameters.items():
        reader = readers.get(f"${{{path}}}")
        if reader is not None:
            rule = f"must not be searched together with {reader}, which reads it"
            yield Problem(path, rule, Verbatim(parameter.text), f"Search {reader}.")


class _CornerCheck:
    """Tries the corners of one arm."""

    def __init__(
        self,
        arm: Arm,
        default: Run,
        parameters: Mapping[str, Parameter],
        rows: CheckedRows,
        corpora: dict[str, Corpus],
    ) -> None:
        self._tree = arm.tree
        self._default = default
        self._parameters = parameters
        self._values = default_values(arm)
        self._inside = {
            path: parameter.corners[0]
            for path, parameter in parameters.items()
            if not parameter.allows(self._values[path])
        }
        self._rows = rows
        self._corpora = corpora
        self._seen: set[str] = set()
        self._runs: dict[tuple[str, Any], Run] = {}

    def problems(self) -> Iterator[Problem]:
        for parameter in self._parameters.values():
            for value in parameter.corners:
                yield from self._try_one(parameter, value)
        for first, second in combinations(self._parameters.values(), 2):
            for one, other in product(_extremes(first), _extremes(second)):
                yield from self._try_two(first.path, one, second.path, other)

    def _try_one(self, parameter: Parameter, value: Any) -> Iterator[Problem]:
        path = parameter.path
        values = {**self._inside, path: value}
        try:
            run = self._runs[path, value] = self._run(values)
            corpus: Corpus | None = self._rows.corpus
            if run.data.rows_key != self._default.data.rows_key:
                corpus = self._corpus(run) if self._is_read(parameter, value) else None
                if corpus is not None and _read(corpus) != _read(self._rows.corpus):
                    yield _changes_rows(parameter, value)
                    return
            is_new = run.task != self._default.task or corpus is not self._rows.corpus
            if is_new and corpus is not None:
                checked_rows(run, corpus)
            check_fit(run, corpus)
        except UserError as error:
            yield from self._under_path(error, values, path)

    def _try_two(self, first: str, one: Any, second: str, other: Any) -> Iterator[Problem]:
        values = {**self._inside, first: one, second: other}
        run, partner = self._runs.get((first, one)), self._runs.get((second, other))
        if run is None or partner is None:
            return  # already refused alone
        group, _, _ = second.partition(".")
        try:
            if first.startswith(f"{group}."):
                run = self._run(values)
            else:
                run = replace(run, **{group: getattr(partner, group)})
            check_fit(run, None)
        except UserError as error:
            yield from self._under_path(error, values, first)

    def _run(self, values: Values) -> Run:
        run = build_run(self._tree, values)
        # Reuse the model, which caches checks, e.g. that its weights are complete.
        is_same = run.model == self._default.model
        return replace(run, model=self._default.model) if is_same else run

    def _is_read(self, parameter: Parameter, value: Any) -> bool:
        others = [each for each in parameter.corners if each != self._values[parameter.path]]
        return not _is_number(value) or value == min(filter(_is_number, others))

    def _corpus(self, run: Run) -> Corpus:
        key = f"{run.data.rows_key} {run.task}"
        if key not in self._corpora:
            self._corpora[key] = run.data.load(run.task)
        return self._corpora[key]

    def _under_path(self, error: UserError, values: Values, path: str) -> Iterator[Problem]:
        """Yield the problems under a searched path: their own, or else the one being tried."""
        for problem in error.problems:
            if str(problem) not in self._seen:
                parameter = self._parameters[problem.where if problem.where in values else path]
                yield _as_of(parameter, values[parameter.path], problem)
            self._seen.add(str(problem))


def _as_of(parameter: Parameter, value: Any, problem: Problem) -> Problem:
    rule = problem.rule
    if problem.where != parameter.path and rule.startswith("must"):
        other = problem.got if isinstance(problem.got, Verbatim) else repr(problem.got)
        rule = f"{problem.where}={other} {rule}"
    return Problem(parameter.path, rule, _shown_value(parameter, value), problem.fix)


def _changes_rows(parameter: Parameter, value: Any) -> Problem:
    fix = f"Run one study per value: {parameter.path}={value} study=NAME."
    rule = "must not change the rows, because trials are compared on them"
    return Problem(parameter.path, rule, _shown_value(parameter, value), fix)


def _shown_value(parameter: Parameter, value: Any) -> Verbatim:
    return Verbatim(f"{value!r} in {parameter.text}")


def _extremes(parameter: Parameter) -> tuple[Any, ...]:
    """Return the smallest and the largest number, and every value that is none, e.g. null."""
    numbers = [value for value in parameter.corners if _is_number(value)]
    others = [value for value in parameter.corners if not _is_number(value)]
    return (*others, *dict.fromkeys((min(numbers), max(numbers)) if numbers else ()))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read(corpus: Corpus) -> Any:
    return corpus.splits if corpus.read is None else corpus.read
