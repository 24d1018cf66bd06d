"""The portfolio of a study: configurations known to be good, tried first after the default.

They come from the row of `conf/prior.yaml` that the defaults come from. On other models and data
such configurations start better than random draws: Feurer et al. 2022, arXiv:2007.04074
(Auto-sklearn 2.0). A study of several arms has none: it opens every arm in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search.config import Arm, Composition, leaves, resolved
from search.config.settings import Search
from search.plan.ranges import default_values
from search.space.space import Parameter, Space


def portfolio(composition: Composition, space: Space, search: Search) -> list[dict[str, Any]]:
    """Return the portfolio, as values of the searched paths; with the default half the budget."""
    (arm, *others), (parameters, *_) = composition.arms, space.arms.values()
    if others or not search.settings.portfolio or search.sampler.is_finite or arm.prior is None:
        return []
    known = (_searched(arm, parameters, values) for values in arm.prior.also)
    room = search.settings.num_trials // 2 - 1
    return [values for values in known if values][: max(room, 0)]


def _searched(
    arm: Arm, parameters: Mapping[str, Parameter], values: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a configuration in the space of the arm; empty if it is not in that space.

    It is not if a path that it sets is fixed at another value: the rest of it is not known to be
    good. What it does not say has its default; what lies outside its range is left to the sampler.
    """
    searched = {path: value for path, value in values.items() if path in parameters}
    if not all(parameters[path].allows(value) for path, value in searched.items()) or not searched:
        return {}
    if len(searched) < len(values):
        fixed = leaves(resolved({k: v for k, v in arm.tree.items() if k != "search"}, {}))
        if any(fixed.get(path) != values[path] for path in values.keys() - searched.keys()):
            return {}
    rest = {path: value for path, value in default_values(arm).items() if path not in searched}
    rest = {path: value for path, value in rest.items() if parameters[path].allows(value)}
    return {path: (searched | rest)[path] for path in parameters if path in searched | rest}
