"""The plan of a study that trains configurations of another one again: a follow-up study.

It has the other study's configuration, without pruning, and one more setting that varies: `seed`,
or `data.validation_seed`, by which the validation rows are drawn from the training rows, so that
each run is trained on another split of the same rows and the test rows stay. Its trials are nothing
but what is queued, so its sampler suggests nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from search.config import Arm, Follows, Tree
from search.plan.build import build_plan
from search.plan.plan import Plan

SPLIT, SEED = "data.validation_seed", "seed"


@dataclass(frozen=True)
class Fresh:
    """What differs between the runs of one configuration.

    Attributes:
        path: The config path that varies.
        values: Its values, none of which the study itself has.
        most: How many values a study may have, if more are added later; by default these alone.

    """

    path: str
    values: Sequence[int]
    most: int = 0

    @property
    def what(self) -> str:
        """Its name for people."""
        return "split" if self.path == SPLIT else "seed"

    @property
    def range(self) -> str:
        """All values that there may be, as text in Hydra's sweep grammar."""
        first, last = self.values[0], self.values[-1] + 1
        return f"range({first}, {max(last, first + self.most)})"

    def entries(self, configurations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return every configuration with each of the values, by config path."""
        return [{**each, self.path: value} for value in self.values for each in configurations]


def split_seed(plan: Plan) -> int:
    """Return the seed by which the study's own validation rows are drawn."""
    data = plan.default.data
    own = getattr(data, "validation_seed", None)
    return getattr(data, "split_seed", 0) if own is None else own


def follow_up_plan(
    plan: Plan, follows: Follows, name: str, fresh: Fresh, num_trials: int, max_hours: float | None
) -> Plan:
    """Return the plan of a study that follows another one.

    Args:
        plan: The other study's.
        follows: Its name, and what the new study does.
        name: The new study's name.
        fresh: What differs between the runs of one configuration.
        num_trials: Trials in its queue.
        max_hours: Training hours that are left to it.

    """
    settings: Tree = {
        "num_trials": num_trials,
        "max_hours": max_hours,
        "confirm": 0,
        "certify": False,
        "enqueue": [],
        "portfolio": False,
        "arms": "joint",
        "warm_start": None,
        "sampler": {"_target_": "search.sampler.random.Random"},
        "pruner": {"_target_": "search.pruner.none.NoPruner"},
    }
    arms = tuple(_again(arm, name, fresh, settings) for arm in plan.composition.arms)
    return build_plan(replace(plan.composition, arms=arms, follows=follows))


def _again(arm: Arm, name: str, fresh: Fresh, settings: Tree) -> Arm:
    space = {**arm.space, fresh.path: fresh.range}
    search = {**arm.tree["search"], **settings, "space": space}
    return replace(arm, tree={**arm.tree, "study": name, "search": search})
