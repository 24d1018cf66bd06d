"""Studies replayed on recorded runs: finesweep's rules, and Optuna's as the peer uses them.

All sides search the default space of finesweep. What they suggest is answered by the nearest
recorded run, so a study may train the same run again, and pays for it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from finetune_parts.cost import Cost
from finetune_parts.landscape import Landscape, Recorded
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

from search.config import compose
from search.plan.build import build_plan
from search.plan.length import read_rows, with_length
from search.plan.plan import Plan
from search.pruner.progress import LOSS
from search.sampler.base import seeded_sampler
from search.space.key import canonical_key
from search.study.suggest import candidates, waiting_trial

NUM_TRIALS = 16
MOST_TRIALS = 64
"""After so many finesweep has not reached the loss."""


@dataclass(frozen=True)
class Peer:
    """A peer's way to search.

    Attributes:
        name: As the table says it.
        pruner: Makes Optuna's pruner.

    """

    name: str
    pruner: Callable[[], Any]


DOCUMENTED = Peer("as documented", optuna.pruners.MedianPruner)
CLEVER = Peer("clever", optuna.pruners.SuccessiveHalvingPruner)


@dataclass(frozen=True)
class Part:
    """What a study trained of one run, and the least validation loss that it saw there."""

    run: Recorded
    num_validations: int
    loss: float

    def seconds(self, cost: Cost, *, validations_per_epoch: int) -> float:
        """Return the seconds of this trial."""
        mark = self.run.marks[self.num_validations - 1]
        assert mark.step is not None
        num_validated = self.num_validations * validations_per_epoch // 2
        return cost.trial_seconds(self.run.batch_size, mark.step, num_validated)


def plan_of(strategy: str, rows: Path, *more: str) -> Plan:
    """Return the plan of a sweep that minimizes the validation loss, with more overrides."""
    words = [
        *("study=replayed", "model=minilm", "data=files", f"data.train={rows}", "logger=none"),
        *(f"strategy={strategy}", f"search.num_trials={NUM_TRIALS}"),
        *("search.metric=log_loss", "search.select=log_loss"),
        *more,
    ]
    composition = compose("sweep", words)
    return build_plan(with_length(composition, read_rows(composition)))


def peer_study(peer: Peer, landscape: Landscape, plan: Plan, seed: int) -> list[Part]:
    """Return the trials of Optuna with its default sampler, which is told the loss by epoch.

    A trial's value is the least loss of its epochs, as if its best weights were kept.
    """
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed), pruner=peer.pruner())
    parts = []
    for _ in range(NUM_TRIALS):
        trial = study.ask()
        run = landscape.nearest(plan.space.suggest(trial))
        least, number, state = float("inf"), 0, TrialState.COMPLETE
        for number in range(2, len(run.marks) + 1, 2):  # a validation an epoch
            mark = run.marks[number - 1]
            least = min(least, -mark.values[LOSS])
            assert mark.step is not None
            trial.report(-mark.values[LOSS], mark.step)
            if number < len(run.marks) and trial.should_prune():
                state = TrialState.PRUNED
                break
        is_whole = state is TrialState.COMPLETE
        study.tell(trial, least if is_whole else None, state=None if is_whole else state)
        parts.append(Part(run, number, least if is_whole else float("inf")))
    return parts


def our_study(landscape: Landscape, plan: Plan, seed: int, until: float) -> Iterator[Part]:
    """Yield the trials of finesweep: its first configurations, its sampler, its pruner.

    The last one is the first that has the loss `until`.
    """
    settings = replace(plan.search.settings, seed=seed, num_trials=MOST_TRIALS)
    plan = replace(plan, search=replace(plan.search, settings=settings))
    sampler = seeded_sampler(
        plan.search.sampler, plan.space, plan.sampler_seed, defaults=plan.defaults_of_arms
    )
    study = optuna.create_study(sampler=sampler)
    seen: list[tuple[Recorded, int, bool]] = []
    taken: set[str] = set()
    for number in range(MOST_TRIALS):
        first = plan.first[number] if number < len(plan.first) else {}
        study.add_trial(waiting_trial(plan.space, first))
        trial = study.ask()
        drafts = candidates(study, trial._trial_id, plan, taken.__contains__)
        values = next(each for each in drafts if canonical_key(each) not in taken)
        taken.add(canonical_key(values))
        store(study, trial._trial_id, plan, values)
        run = landscape.nearest(values)
        reached, is_pruned = _trained(plan, trial, run, seen)
        seen.append((run, reached, not is_pruned))
        least = min(-mark.values[LOSS] for mark in run.marks[:reached])
        if is_pruned:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, least)
        yield Part(run, reached, least)
        if least <= until:
            return


def _trained(
    plan: Plan, trial: Any, run: Recorded, seen: Sequence[tuple[Recorded, int, bool]]
) -> tuple[int, bool]:
    """Return after how many validations the trial ended, and whether it was pruned."""
    others = [
        run.progress(number, reached, can_win=is_whole)
        for number, (run, reached, is_whole) in enumerate(seen)
    ]
    num_finished = sum(is_whole for _, _, is_whole in seen)
    for reached in range(1, len(run.marks) + 1):
        mark = run.marks[reached - 1]
        trial.report(-mark.values[LOSS], mark.examples)
        progress = run.progress(len(seen), reached)
        reason = plan.search.pruner.reason_to_stop(progress, reached, others, num_finished)
        if reason is not None and reached < len(run.marks):
            return reached, True
    return len(run.marks), False


def store(study: optuna.Study, trial_id: int, plan: Plan, values: dict[str, Any]) -> None:
    """Store the values of a trial that was asked for."""
    for name, value in plan.space.by_name(values).items():
        distribution: BaseDistribution = plan.space.parameters[name].distribution
        internal = distribution.to_internal_repr(value)
        study._storage.set_trial_param(trial_id, name, internal, distribution)


def seconds_to(loss: float, parts: Sequence[Part], cost: Cost) -> tuple[float, int]:
    """Return finesweep's seconds until a validation has this loss, and which trial it was.

    The trial is 0 if none had; then the seconds are those of all.
    """
    seconds = cost.start
    for number, part in enumerate(parts, 1):
        if part.loss > loss:
            seconds += part.seconds(cost, validations_per_epoch=2)
            continue
        until = next(at for at, mark in enumerate(part.run.marks, 1) if -mark.values[LOSS] <= loss)
        return seconds + Part(part.run, until, loss).seconds(cost, validations_per_epoch=2), number
    return seconds, 0
