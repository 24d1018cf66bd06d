"""What a study is asked to do: typed and checked, before any storage is touched."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import yaml

from lightning_modules.error import (
    ConfigError,
    Problem,
    SpaceError,
    UserError,
    Verbatim,
    did_you_mean,
)
from lightning_modules.model.base import Model
from lightning_modules.run import Run
from lightning_modules.seed import seed_of
from lightning_modules.task.base import Task
from lightning_modules.task.select import chosen_by, settled
from lightning_modules.trainer import Select
from search.config import CONF_DIR, Arm, Composition, Tree, build_run, build_search, is_free
from search.config.length import EPOCHS, ROWS, epochs_at
from search.config.settings import Arms, Search, SearchSettings
from search.plan.free import direction_problems, free_objective, free_seed, free_space
from search.plan.objective import (
    COSTS,
    METRIC_PREFIX,
    Objective,
    build_objectives,
    objective_problems,
)
from search.plan.opening import opening
from search.plan.portfolio import portfolio
from search.plan.ranges import build_space, default_values
from search.pruner.base import AUTO, ComparingPruner, Pruner
from search.pruner.progress import LOSS, METRIC
from search.sampler.base import Sampler
from search.space.key import canonical_key
from search.space.space import Options, Space
from search.storage.location import folder_name

T = TypeVar("T")

SELECT = "trainer.select"


@dataclass(frozen=True)
class Plan:
    """Everything that defines a study.

    Attributes:
        name: The study's name.
        composition: The configuration of every arm, interpolations unresolved.
        space: What varies.
        search: Sampler, pruner and budget.
        objectives: The objectives; the first decides the ranking.
        defaults: The unmodified configuration of every arm as a run, the default arm first; empty
            for a free study, whose names and metric are the caller's own.
        first: Values by config path that are tried first, each once: the defaults of the searched
            paths, `search.enqueue`, the portfolio, and the sampler's fixed points.

    """

    name: str
    composition: Composition
    space: Space
    search: Search
    objectives: tuple[Objective, ...]
    defaults: Mapping[Options, Run]
    first: tuple[Mapping[str, Any], ...]

    @property
    def tree(self) -> Tree:
        """The default arm's configuration."""
        return self.composition.tree

    @property
    def default(self) -> Run:
        """The default arm's run."""
        assert self.defaults, "a free study has no run"
        return next(iter(self.defaults.values()))

    @property
    def is_free(self) -> bool:
        """Whether names and metric are the caller's own, which no run has."""
        return not self.defaults

    @property
    def is_asked(self) -> bool:
        """Whether a loop of the caller's own trains the trials."""
        return self.search.settings.ask_tell

    @property
    def seed(self) -> int:
        """The seed of the trials."""
        return free_seed(self.tree) if self.is_free else self.default.seed

    @property
    def default_values(self) -> Mapping[str, Any]:
        """The default arm's unmodified values at the searched paths; none in a free study."""
        return {} if self.is_free else self.first[0]

    @property
    def defaults_of_arms(self) -> Sequence[Mapping[str, Any]]:
        """The unmodified values of every arm at the searched paths; none in a free study."""
        return self.first[: len(self.defaults)]

    @property
    def sampler_seed(self) -> int:
        """The seed of everything that chooses values; training has its own, `seed`."""
        seed = self.search.settings.seed
        return seed_of(0, "study", self.name) if seed is None else seed

    @property
    def num_trials(self) -> int:
        """The total budget, at most the number of distinct trials."""
        budget = self.search.settings.num_trials
        return budget if self.limit is None else min(budget, self.limit)

    @property
    def takes_turns(self) -> bool:
        """Whether trials are shared out among several arms, rather than left to the sampler."""
        if self.search.sampler.is_finite or len(self.space.arms) == 1:
            return False
        return self.search.settings.arms is Arms.turns

    @cached_property
    def openings(self) -> Mapping[Options, tuple[Mapping[str, Any], ...]]:
        """What each arm tries after its default, by config path; empty without turns."""
        if not self.takes_turns:
            return {}
        arms = self.space.arms
        defaults = dict(zip(arms, self.first, strict=False))
        return {options: opening(defaults[options], arm) for options, arm in arms.items()}

    @cached_property
    def limit(self) -> int | None:
        """The number of distinct trials that the study can have; None if infinite."""
        if self.composition.confirms is not None:
            return None  # its queue is its budget
        if self.search.sampler.is_finite:
            return len(self.first)
        if self.space.num_combinations is None:
            return None
        num_outside = sum(not self.space.holds(values) for values in self.first)
        return self.space.num_combinations + num_outside

    @cached_property
    def losses_differ(self) -> bool:
        """Whether trials compute their loss differently, so that it cannot be compared."""
        if self.is_free:
            return False
        loss_paths = {f"task.{name}" for name in self.default.task.loss_settings}
        return not loss_paths.isdisjoint(self.space.paths)

    @property
    def chosen_by(self) -> tuple[str, ...]:
        """The validation metrics by which trials are compared, each on a tie of those before.

        None if a loop of the caller's own trains: the value that it tells counts alone.
        """
        return () if self.is_asked else chosen_by(self.default.trainer.select, self.default.task)

    def arm(self, values: Mapping[str, Any]) -> Arm:
        """Return the composed arm that a trial's values choose."""
        options = self.space.options_of(values)
        arms = self.composition.arms
        return next(arm for arm in arms if tuple(arm.choice.values()) == options)

    def run(self, values: Mapping[str, Any]) -> Run:
        """Return the typed run of one trial."""
        return build_run(self.arm(values).tree, self.settings_of(values))

    def settings_of(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return a trial's values without its choices of group options.

        They include `trainer.epochs` if it follows from the number of rows, which is searched.
        """
        settings = {path: value for path, value in values.items() if path not in self.space.groups}
        num_rows, lengths = values.get(ROWS), self.arm(values).lengths
        if lengths and num_rows is not None and EPOCHS not in settings:
            settings[EPOCHS] = epochs_at(lengths, num_rows)
        return settings


def build_plan(composition: Composition) -> Plan:
    """Return the plan of a sweep's composition.

    Raises:
        UserError: Lists every problem of the configuration, search settings and space.

    """
    problems: list[Problem] = []
    free = is_free(composition.tree)
    name = _collect(problems, lambda: plain_name("study", composition.tree["study"]))
    search = _collect(problems, lambda: build_search(composition.tree))
    if search is not None:
        problems.extend(direction_problems(search.settings, free=free))
        composition = composition if free else _with_metric(composition, search.settings)
    defaults = _collect(problems, lambda: {} if free else _defaults(composition))
    space = _collect(problems, lambda: _space(composition))
    arms = () if free or space is None else composition.arms
    first: list[Mapping[str, Any]] = [default_values(arm) for arm in arms]
    if search is not None and space is not None:
        for number, values in enumerate(search.settings.enqueue):
            problems.extend(_enqueue_problems(arms, space, number, values))
            first.append(values)
    if space is not None and SELECT in space.paths:
        rule, fix = "must be the same in all trials", "Set search.select to one rule."
        problems.append(Problem(SELECT, rule, Verbatim("a range"), fix))
    objectives: tuple[Objective, ...] = ()
    if search is not None and defaults is not None and not problems:
        objectives = _collect(problems, lambda: _objectives(search.settings, defaults)) or ()
    if search is not None and defaults:
        task = next(iter(defaults.values())).task
        problems.extend(_pruner_problems(search.pruner, task))
    if not problems and search is not None and space is not None:
        problems.extend(_sampler_problems(search.sampler, space, len(objectives)))
    if problems or name is None or search is None or defaults is None or space is None:
        raise ConfigError(_metric_named(_without_repeats(problems), search))
    first += (*portfolio(composition, space, search), *search.sampler.points(space))
    composition, runs = _with_select(composition, search.settings, defaults)
    settings = replace(search, pruner=_settled_pruner(search.pruner, runs))
    return Plan(name, composition, space, settings, objectives, runs, tuple(_once(first)))


def _space(composition: Composition) -> Space:
    if is_free(composition.tree):
        free_seed(composition.tree)
        return free_space(composition.space)
    return build_space(composition)


def _objectives(settings: SearchSettings, defaults: Mapping[Options, Run]) -> tuple[Objective, ...]:
    if not defaults:
        return (free_objective(settings),)
    task = next(iter(defaults.values())).task
    names = settings.objectives or [METRIC_PREFIX + task.metric]
    problems = list(objective_problems(names, type(task)))
    if problems:
        raise ConfigError(problems)
    return build_objectives(names, task)


def plain_name(key: str, name: object) -> str:
    """Return the plain name of a study or run, see `search.storage.location.folder_name`.

    Raises:
        ConfigError: It is empty.

    """
    # YAML and Hydra read a name of digits as a number.
    text = str(name) if isinstance(name, str | int | float) else ""
    if not text:
        raise ConfigError(Problem(key, "must be a name", name, f"Set {key}=NAME."))
    return folder_name(text)


def _collect(problems: list[Problem], make: Callable[[], T]) -> T | None:
    try:
        return make()
    except UserError as error:
        problems.extend(error.problems)
        return None


def _with_metric(composition: Composition, settings: SearchSettings) -> Composition:
    """Make the optimized metric also choose each trial's best weights."""
    metrics = [name for name in settings.objectives or () if name not in COSTS]
    metric = metrics[0] if metrics else settings.metric
    if metric is None:
        return composition
    name = metric.removeprefix(METRIC_PREFIX)
    arms = tuple(
        replace(arm, tree={**arm.tree, "task": {**arm.tree["task"], "metric": name}})
        for arm in composition.arms
    )
    return replace(composition, arms=arms)


def _with_select(
    composition: Composition, settings: SearchSettings, defaults: Mapping[Options, Run]
) -> tuple[Composition, dict[Options, Run]]:
    """Settle the rule that chooses the best trial and each trial's best weights.

    The study keeps it if `auto` comes to mean another one.
    """
    if not defaults:
        return composition, {}
    default = next(iter(defaults.values()))
    select = settled(settings.select or default.trainer.select, default.task)
    if settings.objectives is not None and len(settings.objectives) > 1:
        select = Select.metric  # a front has no single best trial
    arms = tuple(
        replace(arm, tree={**arm.tree, "trainer": {**arm.tree["trainer"], "select": select.value}})
        for arm in composition.arms
    )
    runs = {
        options: replace(run, trainer=replace(run.trainer, select=select))
        for options, run in defaults.items()
    }
    return replace(composition, arms=arms), runs


def _settled_pruner(pruner: Pruner, defaults: Mapping[Options, Run]) -> Pruner:
    """Return the pruner with names in place of `auto`: what chooses the best trial.

    A metric that chooses alone moves in steps, so a trial must be behind in the loss as well.
    """
    if not isinstance(pruner, ComparingPruner) or AUTO not in pruner.compare:
        return pruner
    names = [LOSS, METRIC]
    for run in defaults.values():
        score = chosen_by(run.trainer.select, run.task)[0]
        names = names if score == run.task.metric else [score]
        break
    settled_names = [each for name in pruner.compare for each in ([name], names)[name == AUTO]]
    return replace(pruner, compare=list(dict.fromkeys(settled_names)))


def _defaults(composition: Composition) -> dict[Options, Run]:
    defaults: dict[Options, Run] = {}
    models: dict[str, Model] = {}  # shared by all arms, so that its weights are checked once
    problems: list[Problem] = []
    for arm in composition.arms:
        options = tuple(arm.choice.values())
        run = _collect(problems, lambda arm=arm: build_run(arm.tree))  # type: ignore[misc]
        if run is not None:
            model = models.setdefault(repr(run.model), run.model)
            defaults[options] = replace(run, model=model)
    if problems:
        raise ConfigError(_without_repeats(problems))
    return defaults


def _once(first: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    seen = set()
    for values in first:
        key = canonical_key(values)
        if key not in seen:
            yield values
        seen.add(key)


def _without_repeats(problems: Sequence[Problem]) -> list[Problem]:
    # Arms share most of their configuration, and so most problems.
    return list({str(problem): problem for problem in problems}.values())


def _sampler_problems(sampler: Sampler, space: Space, num_objectives: int) -> Iterator[Problem]:
    rule = sampler.refusal(space, num_objectives)
    if rule is None:
        return
    able = [
        name for name, kind in _samplers().items() if kind.refusal(space, num_objectives) is None
    ]
    yield Problem("search/sampler", rule, sampler.name, f"Samplers that can: {', '.join(able)}.")


def _pruner_problems(pruner: Pruner, task: Task) -> Iterator[Problem]:
    """Yield a problem if no trial measures what the pruner compares."""
    known = [AUTO, LOSS, METRIC, *task.directions]
    for name in pruner.compare if isinstance(pruner, ComparingPruner) else ():
        if name not in known:
            fix = did_you_mean(name, known)
            yield Problem("search.pruner.compare", f"must be among {', '.join(known)}", name, fix)


def _samplers() -> dict[str, type[Sampler]]:
    """Return the samplers of `conf/` by name."""
    samplers: dict[str, type[Sampler]] = {}
    for path in sorted((CONF_DIR / "search" / "sampler").glob("*.yaml")):
        target = yaml.safe_load(path.read_text(encoding="utf-8"))["_target_"]
        module, _, name = target.rpartition(".")
        samplers[path.stem] = getattr(importlib.import_module(module), name)
    return samplers


def _metric_named(problems: list[Problem], search: Search | None) -> list[Problem]:
    # The user set search.metric or search.objectives, not the task's.
    if search is None or (search.settings.metric is None and not search.settings.objectives):
        return problems
    key = "search.objectives" if search.settings.objectives else "search.metric"
    return [
        Problem(key, problem.rule, problem.got, problem.fix)
        if problem.where == "task.metric"
        else problem
        for problem in problems
    ]


def _enqueue_problems(
    arms: Sequence[Arm], space: Space, number: int, values: Mapping[str, Any]
) -> Iterator[Problem]:
    where = f"search.enqueue.{number}"
    problems: list[Problem] = []
    try:
        space.by_name(values)
    except SpaceError as error:
        problems += error.problems
        yield from (problem.under(where) for problem in error.problems)
    reported = {problem.where for problem in problems}
    for arm in arms:
        if all(values.get(group, option) == option for group, option in arm.choice.items()):
            for path in values.keys() & arm.space.keys() - reported:
                refused = list(_refused(arm.tree, where, path, values[path]))
                reported |= {path} if refused else set()
                yield from refused


def _refused(tree: Tree, where: str, path: str, value: Any) -> Iterator[Problem]:
    try:
        build_run(tree, {path: value})
    except ConfigError as error:
        for problem in error.problems:
            if problem.where == path:
                yield Problem(f"{where}.{path}", problem.rule, problem.got, problem.fix)
