"""The plan of a study that trains the first few trials of another one again.

It has the other study's configuration, without pruning, and one more setting that varies: where the
validation rows are drawn from the training rows, `data.validation_seed`, so that each trial is
trained on other splits of the same rows and the test rows stay; otherwise `seed`. Its trials are
nothing but what is queued, so its sampler suggests nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from search.config import Arm, Tree
from search.plan.build import build_plan
from search.plan.plan import Plan

MAX_CANDIDATES = 3
"""Most trials that are trained again beside the default."""
SPLIT, SEED = "data.validation_seed", "seed"


@dataclass(frozen=True)
class Fresh:
    """What differs between the runs of one configuration.

    Attributes:
        path: The config path that varies.
        values: Its values, none of which the study itself has.

    """

    path: str
    values: Sequence[int]

    @property
    def what(self) -> str:
        """Its name for people."""
        return "split" if self.path == SPLIT else "seed"

    def entries(self, configurations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return every configuration with each of the values, by config path."""
        return [{**each, self.path: value} for value in self.values for each in configurations]


def refusal(plan: Plan) -> str | None:
    """Return why the first few of a study cannot be confirmed; None if they can."""
    if plan.is_asked:
        return "a loop of yours trains the trials"
    if len(plan.objectives) > 1:
        return "there are several goals, and so no single best trial"
    if SEED in plan.space.paths:
        return "the seed is searched, so configurations count by their mean over seeds already"
    return None


def confirms(plan: Plan) -> bool:
    """Return whether the first few trials of the study are trained again."""
    return plan.search.settings.confirm > 0 and refusal(plan) is None


def fresh_of(plan: Plan) -> Fresh:
    """Return the splits, or the seeds, on which the first few of a study are trained again."""
    data, first = plan.default.data, plan.seed
    if data.draws_validation:
        own = getattr(data, "validation_seed", None)
        first = getattr(data, "split_seed", 0) if own is None else own
    path = SPLIT if data.draws_validation else SEED
    return Fresh(path, range(first + 1, first + 1 + plan.search.settings.confirm))


def max_runs(plan: Plan) -> int:
    """Return the most runs that confirming takes."""
    num_trials = min(MAX_CANDIDATES + 1, plan.num_trials)
    return plan.search.settings.confirm * num_trials if num_trials > 1 else 0


def confirm_plan(plan: Plan, name: str, num_trials: int, max_hours: float | None) -> Plan:
    """Return the plan of the study that confirms the first few of another one.

    Args:
        plan: The other study's.
        name: The new study's name.
        num_trials: Trials in its queue.
        max_hours: Training hours that are left to it.

    """
    fresh = fresh_of(plan)
    settings: Tree = {
        "num_trials": num_trials,
        "max_hours": max_hours,
        "confirm": 0,
        "enqueue": [],
        "portfolio": False,
        "arms": "joint",
        "warm_start": None,
        "sampler": {"_target_": "search.sampler.random.Random"},
        "pruner": {"_target_": "search.pruner.none.NoPruner"},
    }
    arms = tuple(_again(arm, name, fresh, settings) for arm in plan.composition.arms)
    return build_plan(replace(plan.composition, arms=arms, confirms=plan.name))


def _again(arm: Arm, name: str, fresh: Fresh, settings: Tree) -> Arm:
    text = f"range({fresh.values[0]}, {fresh.values[-1] + 1})"
    search = {**arm.tree["search"], **settings, "space": {**arm.space, fresh.path: text}}
    return replace(arm, tree={**arm.tree, "study": name, "search": search})
