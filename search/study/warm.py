"""Take over what another study has learnt, with `search.warm_start=NAME`.

Its finished trials become prior observations of the sampler, also those that diverged or did not
fit into memory. They are not trials of this study: they are outside its budget and its ranking.
The best configuration of the other study is tried after the defaults. Both are copied when the
study first names the other one, so the other study may continue or be removed.

A trial fits if this study could have suggested it: the same strategy, optimizer and schedule, a
value inside the range for every searched path, and the fixed value for every path that only the
other study searches. Model and data may differ. On other or unknown rows and with another model,
scores have another level, so they are shifted: their median becomes that of this study's finished
trials.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.error import ConfigError, Problem, Verbatim, did_you_mean
from search.config import Arm, leaves, resolved
from search.config.revision import REVISION, is_unnamed
from search.plan.plan import Plan
from search.storage.attribute import CONSTRAINT, GUARD
from search.storage.location import study_folder
from search.study.open import load_study, stored, study_folders
from search.study.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

KEY = "search.warm_start"
SAME_GROUPS = ("strategy", "optimizer", "schedule")  # otherwise their settings mean something else


@dataclass(frozen=True)
class Warm:
    """What a study takes over from another one.

    Attributes:
        study: The other study's name.
        same_rows: Whether it is known to score the same rows; a loop's own rows are not known.
        num_trials: Its trials that ended with a result.
        trials: Those that fit the space: values by config path, objectives (None without a
            score), and the system attributes that mark a violated constraint.
        best: Its best configuration that fits; None if none finished.
        same_model: Whether its model is the same; not stored by earlier versions.

    """

    study: str
    same_rows: bool
    num_trials: int
    trials: Sequence[Mapping[str, Any]]
    best: Mapping[str, Any] | None
    same_model: bool = True

    @property
    def note(self) -> str:
        """One line for people."""
        if not self.num_trials:
            return f"study {self.study} has no result to learn from"
        num_fit, line = len(self.trials), f"{len(self.trials)} of {self.num_trials} trials"
        line += f" of study {self.study} are prior observations"
        if num_fit < self.num_trials:
            num_left = self.num_trials - num_fit
            line += f"; {num_left} {'does' if num_left == 1 else 'do'} not fit the space"
        if not num_fit:
            return line
        rows = [] if self.same_rows else ["other or unknown rows"]
        differs = " and ".join([*rows, *([] if self.same_model else ["another model"])])
        if differs:
            line += f"; it has {differs}, so their scores count relative to each other"
        return line if self.best is None else f"{line}; its best configuration is tried early"

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for the storage."""
        return asdict(self)


def warm_of(plan: Plan, root: Path, fingerprint: str) -> Warm | None:
    """Return what the plan's study takes over; None if `search.warm_start` names no study.

    Args:
        plan: The plan.
        root: The folder with the studies.
        fingerprint: The fingerprint of the plan's rows.

    Raises:
        ConfigError: There is no such study, or it has other objectives.

    """
    name = plan.search.settings.warm_start
    if name is None:
        return None
    if name == plan.name:
        raise ConfigError(Problem(KEY, "must be another study", name))
    folder = study_folder(root, name)
    if stored(folder) is None:
        names = [path.name for path in study_folders(root) if path.name != plan.name]
        fix = did_you_mean(name, names) if names else "There is none yet."
        raise ConfigError(Problem(KEY, f"must be a study in {folder.parent}", name, fix))
    other = load_study(folder)
    own, its = ([f"{o.direction} {o.name}" for o in each.objectives] for each in (plan, other.plan))
    if own != its:
        rule, got = f"must have the objective {', '.join(own)}", Verbatim(", ".join(its))
        raise ConfigError(Problem(KEY, rule, got, f"{name} has no scores to compare with."))
    ended = [trial for trial in other.considered if _has_result(trial)]
    own_arms = [(arm, _settings(arm, {})) for arm in plan.composition.arms]
    fits = {trial.number: _fitted(plan, own_arms, other, trial) for trial in ended}
    best = next((fits[t.number] for t in other.ranking.trials if fits[t.number] is not None), None)
    trials = [
        {"values": values, "scores": scores, "constraints": constraints}
        for trial in ended
        if (values := fits[trial.number]) is not None
        for constraints in [_constraints(trial, {guard.name for guard in plan.guards})]
        # A trial that diverged after a validation has a value too: its last one, maybe a good one.
        for scores in [None if constraints else trial.values]
    ]
    same_rows = bool(fingerprint) and other.data_fingerprint == fingerprint
    plans = (plan, other.plan)
    arms = [arm for each in plans for arm in each.composition.arms]
    # Studies of earlier versions did not store the commit of their model.
    unknown = {REVISION} if any(is_unnamed(_settings(arm, {})) for arm in arms) else set()
    same_model = _models(plan, unknown) == _models(other.plan, unknown)
    return Warm(name, same_rows, len(ended), trials, best, same_model)


def _fitted(
    plan: Plan, arms: Sequence[tuple[Arm, Mapping[str, Any]]], other: Study, trial: FrozenTrial
) -> dict[str, Any] | None:
    """Return another study's trial as values of the plan's space; None if it does not fit.

    Args:
        plan: The plan.
        arms: Its arms, with their default settings.
        other: The other study.
        trial: One of its trials.

    """
    params = other.params_of(trial)
    other_arm = other.plan.arm(params)
    its = _settings(other_arm, other.plan.settings_of(params))
    for arm, own in arms:
        if any(_option(arm, group) != _option(other_arm, group) for group in SAME_GROUPS):
            continue
        parameters = plan.space.arms[tuple(arm.choice.values())]
        searched = [path for path in params if path in its and path not in parameters]
        if all(path in its and p.allows(its[path]) for path, p in parameters.items()) and all(
            its[path] == own.get(path) for path in searched
        ):
            return {**arm.choice, **{path: its[path] for path in parameters}}
    return None


def _option(arm: Arm, group: str) -> Any:
    """Return the class of a group's option; None in a free study, which has no groups."""
    return arm.tree.get(group, {}).get("_target_")


def _models(plan: Plan, without: Set[str]) -> set[str]:
    """Return the settings of the arms' models that the study does not search."""
    without = without | set(plan.space.paths)
    settings = (_settings(arm, {}) for arm in plan.composition.arms)
    return {
        repr(sorted((k, v) for k, v in each.items() if _is_model(k) and k not in without))
        for each in settings
    }


def _is_model(path: str) -> bool:
    return path.startswith("model.")


def _has_result(trial: FrozenTrial) -> bool:
    return trial.state.name == "COMPLETE" or bool(_constraints(trial))


def _constraints(trial: FrozenTrial, guards: Collection[str] = ()) -> dict[str, Any]:
    """Return what the trial violates; of guards, those of the same name in the new study."""
    return {
        name: value
        for name, value in trial.system_attrs.items()
        if name.startswith(CONSTRAINT)
        and value > 0
        and (not name.startswith(GUARD) or name.removeprefix(GUARD) in guards)
    }


def _settings(arm: Arm, values: Mapping[str, Any]) -> dict[str, Any]:
    tree = {key: value for key, value in arm.tree.items() if key != "search"}
    return leaves(resolved(tree, values))
