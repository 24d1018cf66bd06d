"""Whether a study's ranges hold nothing that no trial can train, asked before its first one.

A trial that finds out ends the sweep, and a study's ranges cannot change. So each range is tried
at its corners, which are both ends of an interval and every choice, one range at a time and then
two, as rules hold between two settings. The other searched paths have their defaults meanwhile,
or the first corner where that lies outside: whatever is refused here could be suggested.

Cost: about 10 ms a corner. Where a range decides which rows there are, they are read once more, at
the least of numbers, and for every choice between names.
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


def check_corners(plan: Plan, material: CheckedRows) -> None:
    """Raise SpaceError where a range of the plan holds what the rest of it or the rows refuse.

    Or where it changes nothing, as the only one to read it is searched itself.

    Args:
        plan: The plan, whose defaults are known to be trainable.
        material: The rows of these.

    """
    problems: dict[str, Problem] = {}
    corpora: dict[str, Corpus] = {}
    arms = zip(plan.composition.arms, plan.space.arms.values(), strict=True)
    for (arm, parameters), default in zip(arms, plan.defaults.values(), strict=True):
        problems |= {str(problem): problem for problem in _unread(arm, parameters)}
        trying = _Trying(arm, default, parameters, material, corpora)
        problems |= {str(problem): problem for problem in trying.problems()}
    if problems:
        raise SpaceError(problems.values())


def _unread(arm: Arm, parameters: Mapping[str, Parameter]) -> Iterator[Problem]:
    """Yield the ranges over what only another searched path reads, so that they change nothing."""
    written = leaves(arm.tree)
    readers = {str(written.get(path)): path for path in parameters}
    for path, parameter in parameters.items():
        reader = readers.get(f"${{{path}}}")
        if reader is not None:
            rule = f"must not be searched together with {reader}, which reads it"
            yield Problem(path, rule, Verbatim(parameter.text), f"Search {reader}.")


class _Trying:
    """The corners of one arm."""

    def __init__(
        self,
        arm: Arm,
        default: Run,
        parameters: Mapping[str, Parameter],
        material: CheckedRows,
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
        self._material = material
        self._corpora = corpora
        self._told: set[str] = set()
        self._runs: dict[tuple[str, Any], Run] = {}

    def problems(self) -> Iterator[Problem]:
        for parameter in self._parameters.values():
            for value in parameter.corners:
                yield from self._of_one(parameter, value)
        for first, second in combinations(self._parameters.values(), 2):
            for one, other in product(_extremes(first), _extremes(second)):
                yield from self._of_two(first.path, one, second.path, other)

    def _of_one(self, parameter: Parameter, value: Any) -> Iterator[Problem]:
        path = parameter.path
        values = {**self._inside, path: value}
        try:
            run = self._runs[path, value] = self._run(values)
            corpus: Corpus | None = self._material.corpus
            if run.data.rows_key != self._default.data.rows_key:
                corpus = self._corpus(run) if self._is_read(parameter, value) else None
                if corpus is not None and _read(corpus) != _read(self._material.corpus):
                    yield _changes_rows(parameter, value)
                    return
            is_new = run.task != self._default.task or corpus is not self._material.corpus
            if is_new and corpus is not None:
                checked_rows(run, corpus)
            check_fit(run, corpus)
        except UserError as error:
            yield from self._blamed(error, values, path)

    def _of_two(self, first: str, one: Any, second: str, other: Any) -> Iterator[Problem]:
        values = {**self._inside, first: one, second: other}
        run, beside = self._runs.get((first, one)), self._runs.get((second, other))
        if run is None or beside is None:
            return  # refused alone
        room, _, _ = second.partition(".")
        try:
            if first.startswith(f"{room}."):
                run = self._run(values)
            else:
                run = replace(run, **{room: getattr(beside, room)})
            check_fit(run, None)
        except UserError as error:
            yield from self._blamed(error, values, first)

    def _run(self, values: Values) -> Run:
        run = build_run(self._tree, values)
        # What a model has found out about itself, as that its weights are whole, stays with it.
        is_same = run.model == self._default.model
        return replace(run, model=self._default.model) if is_same else run

    def _is_read(self, parameter: Parameter, value: Any) -> bool:
        others = [each for each in parameter.corners if each != self._values[parameter.path]]
        return isinstance(value, str | bool) or value == min(others)

    def _corpus(self, run: Run) -> Corpus:
        key = f"{run.data.rows_key} {run.task}"
        if key not in self._corpora:
            self._corpora[key] = run.data.load(run.task)
        return self._corpora[key]

    def _blamed(self, error: UserError, values: Values, path: str) -> Iterator[Problem]:
        """Yield the problems as ones of a searched path: theirs, or the one that was tried."""
        for problem in error.problems:
            if str(problem) not in self._told:
                culprit = self._parameters[problem.where if problem.where in values else path]
                yield _as_of(culprit, values[culprit.path], problem)
            self._told.add(str(problem))


def _as_of(parameter: Parameter, value: Any, problem: Problem) -> Problem:
    rule = problem.rule
    if problem.where != parameter.path and rule.startswith("must"):
        other = problem.got if isinstance(problem.got, Verbatim) else repr(problem.got)
        rule = f"{problem.where}={other} {rule}"
    return Problem(parameter.path, rule, _found(parameter, value), problem.fix)


def _changes_rows(parameter: Parameter, value: Any) -> Problem:
    fix = f"Run one study per value: {parameter.path}={value} study=NAME."
    rule = "must not change the rows, because trials are compared on them"
    return Problem(parameter.path, rule, _found(parameter, value), fix)


def _found(parameter: Parameter, value: Any) -> Verbatim:
    return Verbatim(f"{value!r} in {parameter.text}")


def _extremes(parameter: Parameter) -> tuple[Any, ...]:
    """Return the least and the greatest value of numbers, else every value."""
    values = parameter.corners
    if any(isinstance(value, bool | str) for value in values):
        return values
    return min(values), max(values)


def _read(corpus: Corpus) -> Any:
    return corpus.splits if corpus.read is None else corpus.read
