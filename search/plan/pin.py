"""Which commit of the hub a study's models come from: settled when it begins, and kept.

A branch such as `main` may move while a study runs, and trials of two different models cannot be
compared. So what a name means now takes its place in the configuration, which is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lightning_modules.error import UserError
from lightning_modules.model.base import Model
from search.config import Arm, Composition, model_of
from search.config.revision import REVISION
from search.plan.plan import Plan

MODEL = "model"


def with_commits(composition: Composition, *, named_only: bool = False) -> Composition:
    """Return the composition with the commit of every model that the hub knows.

    Args:
        composition: The configuration.
        named_only: Leave models without a revision as they are: a stored one takes its place.

    """
    if composition.tree.get("search", {}).get("ask_tell", False):
        return composition  # the models are the caller's own
    return replace(composition, arms=tuple(_pinned(arm, named_only) for arm in composition.arms))


def _pinned(arm: Arm, named_only: bool) -> Arm:
    node = arm.tree.get(MODEL)
    if not isinstance(node, dict) or "revision" not in node:
        return arm
    if any(path.partition(".")[0] == MODEL for path in arm.space):
        return arm  # each trial has its own
    if named_only and node["revision"] is None:
        return arm
    try:
        model = model_of(arm.tree)
    except UserError:
        return arm  # reported by `build_plan`
    commit = model.pinned().commit
    if commit is None or commit == node["revision"]:
        return arm
    others = (word for word in arm.words if not word.startswith(f"{REVISION}="))
    words = (*others, f"{REVISION}={commit}")
    return replace(arm, tree={**arm.tree, MODEL: {**node, "revision": commit}}, words=words)


def models_of(plan: Plan) -> Iterator[tuple[Model, bool]]:
    """Yield the models of a plan's trials, and whether their weights are read; each once."""
    seen = set()
    for options, run in plan.defaults.items():
        arm = plan.space.arms.get(options, {})
        models = [run.model]
        for path, parameter in arm.items():
            group, _, field = path.partition(".")
            if group == MODEL and field in ("path", "revision"):
                models = [
                    replace(model, **{field: value})
                    for model in models
                    for value in parameter.values or ()
                ]
        for model in models:
            key = (repr(model), run.strategy.reads_weights)
            if key not in seen:
                yield model, run.strategy.reads_weights
            seen.add(key)
