"""Settle what the search leaves open: what chooses the best trial, and what a pruner compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lightning_modules.run import Run
from lightning_modules.task.select import chosen_by, settled
from lightning_modules.trainer import Select
from search.config import Composition
from search.config.settings import SearchSettings
from search.plan.objective import COSTS, METRIC_PREFIX
from search.pruner.base import AUTO, ComparingPruner, Pruner
from search.pruner.progress import LOSS, METRIC
from search.space.space import Options


def with_metric(composition: Composition, settings: SearchSettings) -> Composition:
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


def with_select(
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


def settled_pruner(pruner: Pruner, run: Run | None) -> Pruner:
    """Return the pruner with names in place of `auto`: what chooses the best trial.

    A metric that chooses alone moves in steps, so a trial must be behind in the loss as well.

    Args:
        pruner: The pruner of the configuration.
        run: Any run of the study; None if a loop of the caller's own trains its trials: it reports
            a loss, a metric or both.

    """
    if not isinstance(pruner, ComparingPruner) or AUTO not in pruner.compare:
        return pruner
    chosen = [LOSS, METRIC]
    if run is not None and (score := chosen_by(run.trainer.select, run.task)[0]) != run.task.metric:
        chosen = [score]
    compare = [each for name in pruner.compare for each in (chosen if name == AUTO else [name])]
    return replace(pruner, compare=list(dict.fromkeys(compare)))
