"""The values of a claimed trial: those it was queued with, or what the sampler chooses now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lightning_modules.error import SpaceError
from search.space.key import renewed_key
from search.space.space import Space
from search.storage.attribute import FIXED, KEY, START, VALUES
from search.storage.transaction import set_attributes
from search.study.pick import whole_values
from search.study.seeds import SEED, seeds_left
from search.study.study import Study
from search.study.suggest import filled, settle

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def values_of(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    """Return the values of a claimed trial; if it has none, choose and store them."""
    values = trial.user_attrs.get(VALUES) or _outside(study, trial)
    if values is None:
        taken = set(_taken(study, trial))
        wanted = _seeds_left(study, trial)
        values = settle(study.optuna, study.tables, trial, study.plan, taken, wanted)
    return dict(values)


def outside_notes(space: Space, trial: FrozenTrial) -> Iterator[str]:
    """Yield a message for each value of a queued trial that a changed range no longer holds."""
    start = space.by_path(trial.system_attrs.get(FIXED, {}))
    try:
        space.by_name(start)
    except SpaceError as error:
        for problem in error.problems:
            queued = f"trial {trial.number} was queued with {problem.where}={problem.got}"
            yield f"{queued} and keeps it; since then, the range has changed: it {problem.rule}"


def _taken(study: Study, trial: FrozenTrial) -> Iterator[str]:
    """Yield the keys of other trials' values, also of those that are queued with all of them.

    A queued trial that another worker has just claimed has no key of its own yet.
    """
    for other in study.trials:
        key = other.system_attrs.get(KEY, other.system_attrs.get(START))
        if key is not None and other.number != trial.number:
            yield renewed_key(key)


def _seeds_left(study: Study, trial: FrozenTrial) -> list[dict[str, Any]]:
    """Return configurations that have begun, with the seeds that they lack."""
    space = study.plan.space
    if SEED not in space.paths or FIXED in trial.system_attrs:
        return []
    begun = [
        (other, study.params_of(other))
        for other in study.trials
        if KEY in other.system_attrs or VALUES in other.user_attrs
    ]
    return list(seeds_left(space, begun, study.dropped))


def _outside(study: Study, trial: FrozenTrial) -> Mapping[str, Any] | None:
    """Return and store the values of a queued trial that a changed range no longer holds."""
    plan = study.plan
    start = plan.space.by_path(trial.system_attrs.get(FIXED, {}))
    if KEY in trial.system_attrs or plan.space.holds(start):
        return None
    values = filled(plan, trial.number, start) if plan.is_free else whole_values(plan, start)
    set_attributes(study.tables, trial._trial_id, {VALUES: values})
    return values
