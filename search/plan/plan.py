"""What a study is asked to do: typed and checked, before any storage is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lightning_modules.guard.base import Guard
from lightning_modules.run import Run
from lightning_modules.seed import seed_of
from lightning_modules.task.select import chosen_by
from search.config import Arm, Composition, Tree
from search.config.length import EPOCHS, ROWS, epochs_at
from search.config.settings import Arms, Search
from search.plan.free import free_seed
from search.plan.objective import Objective
from search.plan.opening import opening
from search.space.space import Options, Space


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
        guards: What the best trial must keep.

    """

    name: str
    composition: Composition
    space: Space
    search: Search
    objectives: tuple[Objective, ...]
    defaults: Mapping[Options, Run]
    first: tuple[Mapping[str, Any], ...]
    guards: tuple[Guard, ...] = ()

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
        if self.composition.follows is not None:
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

    def trains(self, values: Mapping[str, Any]) -> bool:
        """Return whether a trial with these values trains; if not, its seed does not matter."""
        return self.defaults[self.space.options_of(values)].strategy.trains

    def run(self, values: Mapping[str, Any]) -> Run:
        """Return the typed run of one trial."""
        return self.arm(values).template.run(self.settings_of(values))

    def settings_of(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return a trial's values without its choices of group options.

        They include `trainer.epochs` if it follows from the number of rows, which is searched.
        """
        settings = {path: value for path, value in values.items() if path not in self.space.groups}
        num_rows, lengths = values.get(ROWS), self.arm(values).lengths
        if lengths and num_rows is not None and EPOCHS not in settings:
            settings[EPOCHS] = epochs_at(lengths, num_rows)
        return settings
