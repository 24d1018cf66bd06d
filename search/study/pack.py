"""Which waiting trials may train together: those that share passes and depend on no result.

A trial that is claimed for a pack must have the values that it would have if the others had ended
before. So it is one that waits with all its values, e.g. of `search.enqueue` or of a certificate,
or one whose values the sampler draws without results, e.g. at random.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

from lightning_modules.error import UserError
from lightning_modules.run import pack_key
from search.plan.objective import COSTS
from search.plan.plan import Plan
from search.space.space import Options
from search.storage.attribute import ALONE, ATTEMPTS, FIXED, VALUES
from search.storage.failure import FailedAttempt, FailureKind
from search.study.seeds import SEED
from search.study.study import Study
from search.study.suggest import num_independent

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def key_of(plan: Plan, values: Mapping[str, Any]) -> Hashable | None:
    """Return what trials have in common that may train together; None if this may not.

    What a trial costs is measured alone: in a pack, its time is a share.
    """
    if any(objective.name in COSTS for objective in plan.objectives):
        return None
    try:
        return pack_key(plan.run(values))
    except UserError:  # it is said when the trial trains
        return None


def arms_that_pack(plan: Plan) -> list[Options]:
    """Return the arms whose trials may share passes with others of their arm."""
    pairs = zip(plan.space.arms, plan.defaults_of_arms, strict=True)
    return [options for options, values in pairs if key_of(plan, values) is not None]


def may_pack(trial: FrozenTrial) -> bool:
    """Return whether a trial may train together with others: no attempt of it has failed."""
    kinds = {FailedAttempt.from_dict(end).kind for end in trial.user_attrs.get(ATTEMPTS) or ()}
    return ALONE not in trial.user_attrs and kinds <= {FailureKind.interrupted, FailureKind.killed}


def num_foreseen(study: Study) -> float:
    """Return for how many trials, the first ones, what the sampler chooses depends on no result.

    Results decide which arm has the next turn, and which configuration is trained with more seeds.
    """
    plan = study.plan
    if plan.takes_turns or SEED in plan.space.paths:
        return 0
    return num_independent(plan, study.prior)


def num_left(study: Study) -> int:
    """Return how many trials that depend on no result have not begun."""
    trials, num = study.trials, num_foreseen(study)
    new = min(num, study.plan.num_trials) - len(trials)
    return sum(_is_ready(study, trial, num) for trial in trials) + max(0, int(new))


def next_fitting(study: Study, key: Hashable) -> FrozenTrial | None:
    """Return the first waiting trial that has this key, or whose values are not drawn yet."""
    num = num_foreseen(study)
    for trial in study.trials:
        if _is_ready(study, trial, num):
            values = _known_values(study, trial)
            if values is None or key_of(study.plan, values) == key:
                return trial
    return None


def _is_ready(study: Study, trial: FrozenTrial, num: float) -> bool:
    """Return whether a trial waits and depends on no result; `num` is that of `num_foreseen`."""
    if trial.state.name != "WAITING" or not may_pack(trial):
        return False
    return trial.number < num or _known_values(study, trial) is not None


def _known_values(study: Study, trial: FrozenTrial) -> dict[str, Any] | None:
    """Return the values of a waiting trial; None if the sampler will choose some."""
    if VALUES in trial.user_attrs:
        return dict(trial.user_attrs[VALUES])
    space, fixed = study.plan.space, trial.system_attrs.get(FIXED, {})
    is_known = space.is_complete(fixed) and space.holds(space.by_path(fixed))
    return space.by_path(fixed) if is_known else None
