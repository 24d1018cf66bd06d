"""From which share of its run on a trial may be pruned: `search.pruner.min_fraction: auto`.

It follows from the strategy, whose class has the number (`Strategy.telling_share`). `auto` is
replaced while the configuration is composed, so stored studies hold numbers. What the user sets is
left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from lightning_modules.error import ConfigError
from lightning_modules.strategy.base import Strategy
from search.config.build import Tree, strategy_class
from search.config.prior import AUTO


def take_min_fraction(trees: Sequence[Tree]) -> None:
    """Replace `search.pruner.min_fraction: auto` in the trees of all arms, in place.

    A study has one pruner for all of its arms, so the largest share of their strategies counts.
    """
    pruners = [tree.get("search", {}).get("pruner") for tree in trees]
    open_ones = [
        each for each in pruners if isinstance(each, dict) and each.get("min_fraction") == AUTO
    ]
    if open_ones:
        share = max(_telling_share(tree) for tree in trees)
        for pruner in open_ones:
            pruner["min_fraction"] = share


def _telling_share(tree: Tree) -> float:
    try:
        return strategy_class(tree).telling_share
    except ConfigError:  # a free study has no strategy; any other is reported when the run is built
        return Strategy.telling_share
