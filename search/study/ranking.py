"""The order of a study's finished trials, and which of them is the best.

Trials are ordered by their validation scores (`by_score`), those that break a guard behind all that
keep every one. What confirming found, or caution about noise, may put another one first (`trials`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from search.plan.confirm import fresh_of
from search.plan.plan import Plan
from search.storage.attribute import CHOSEN_SCORES, METRICS, ROW_SCORES, broken_guards
from search.study.confirmed import Confirmed, Costs, Decision, decide
from search.study.gain import is_within_error
from search.study.params import params_of
from search.study.seeds import SEED, broken_off, configuration, means, num_lacking

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Ranking:
    """The finished trials of a study in order, at one moment.

    Attributes:
        plan: The study's plan.
        considered: The trials of its budget that are not dropped, by number.
        confirmed: What the first few came to on fresh splits; None if they were not trained again.

    """

    plan: Plan
    considered: Sequence[FrozenTrial]
    confirmed: Confirmed | None = None

    @property
    def best(self) -> FrozenTrial | None:
        """The best finished trial; the earliest if tied. None if none has finished.

        None as well if the study follows another one: what its trials came to counts there.
        If every trial breaks a guard, it is the default, which is then kept, or none.
        """
        if self.plan.composition.follows is not None:
            return None
        return self.default if self.none_keeps else next(iter(self.trials), None)

    @cached_property
    def trials(self) -> tuple[FrozenTrial, ...]:
        """The finished trials, best first: as `by_score`, but for the first one.

        That is the one that was confirmed (`search.study.confirmed`). Without it, the default is
        the first one if the best is within its noise and the study is cautious, or if every trial
        breaks a guard.
        """
        ranked = self.by_score
        if self.none_keeps:
            number = -1 if self.default is None else self.default.number
        elif self.decision is not None:
            number = self.decision.best
        elif self._is_doubtful and self.default is not None:
            number = self.default.number
        else:
            return ranked
        return tuple(sorted(ranked, key=lambda trial: trial.number != number))  # stable

    @cached_property
    def by_score(self) -> tuple[FrozenTrial, ...]:
        """The finished trials, best first: by `chosen_by`, then by the objectives.

        Several objectives are compared in their order. If the seed is searched, configurations with
        more finished seeds come first, those of which a seed ended without a result last. Those
        that break a guard come behind all others.
        """
        losses = {trial.number: self._losses(trial) for trial in self._finished}
        mean, doubts = self._means(losses), self._doubts

        def key(trial: FrozenTrial) -> tuple[bool, tuple[bool, int], list[float], list[float]]:
            number = trial.number
            return number in self.broken, doubts[number], mean[number], losses[number]

        return tuple(sorted(self._finished, key=key))  # stable: ties keep the earlier trial first

    @cached_property
    def chosen_by(self) -> tuple[str, ...]:
        """The validation metrics that choose the best trial, each on a tie of those before.

        Those of `search.select` that every finished trial has; none with several objectives.
        """
        if len(self.plan.objectives) > 1:
            return ()
        kept = [trial.user_attrs.get(METRICS, {}) for trial in self._finished]
        return tuple(n for n in self.plan.chosen_by if all(n in metrics for metrics in kept))

    @property
    def signs(self) -> dict[str, int]:
        """The validation metrics that trials are compared by; 1 if more is better, else -1."""
        objective = self.plan.objectives[0]
        if not self.chosen_by:
            return {objective.short: objective.sign}
        directions = self.plan.default.task.goals
        return {name: 1 if directions[name] == "maximize" else -1 for name in self.chosen_by}

    @property
    def compared_scores(self) -> str:
        """The attribute with what each row contributes to what the trials are compared by."""
        is_metric = self.chosen_by in ((), (self.plan.objectives[0].short,))
        return ROW_SCORES if is_metric else CHOSEN_SCORES

    @cached_property
    def default(self) -> FrozenTrial | None:
        """The finished trial of the unmodified configuration; None if there is none."""
        values, space = dict(self.plan.default_values), self.plan.space
        return next((trial for trial in self._finished if params_of(space, trial) == values), None)

    @cached_property
    def broken(self) -> frozenset[int]:
        """The numbers of the finished trials that break a guard.

        If the seed is searched, a configuration breaks it with all its seeds.
        """
        own = {trial.number for trial in self._finished if broken_guards(trial.system_attrs)}
        if SEED in self.plan.space.paths:
            broken = {self._configurations[number] for number in own}
            own = {number for number, key in self._configurations.items() if key in broken}
        return frozenset(own)

    @property
    def none_keeps(self) -> bool:
        """Whether trials have finished, and all of them break a guard."""
        return bool(self._finished) and len(self.broken) == len(self._finished)

    @property
    def is_cautious(self) -> bool:
        """Whether another trial must be better than the default by more than its noise."""
        if self.plan.is_asked or len(self.plan.objectives) > 1:
            return False
        if SEED in self.plan.space.paths:
            return False  # the noise of one seed says little about a mean
        return self.plan.default.trainer.select.is_cautious

    @property
    def keeps_default(self) -> bool:
        """Whether another trial scored better than the best, the default, but within its noise."""
        if self.none_keeps or self.decision is not None or not self._finished:
            return False
        return self._is_doubtful and self.by_score[0] is not self.default

    @cached_property
    def confirmed_costs(self) -> Costs:
        """The costs of the confirmed trials that count, see `search.study.confirmed`."""
        if self.confirmed is None:
            return {}
        numbers = [t.number for t in self.considered if t.number not in self.broken]
        return self.confirmed.costs(numbers, fresh_of(self.plan).values, self.signs)

    @cached_property
    def decision(self) -> Decision | None:
        """Which of the confirmed trials is the best; None if none was confirmed."""
        costs, default = self.confirmed_costs, self.default
        if self.confirmed is None or not costs:
            return None
        errors = self.confirmed.row_errors(fresh_of(self.plan).values)
        known = default.number if default is not None and default.number in costs else None
        return decide(costs, known, errors)

    @cached_property
    def front(self) -> frozenset[int]:
        """The numbers of the trials on the Pareto front; with one objective, of the best trial."""
        if len(self.plan.objectives) == 1:
            return frozenset() if self.best is None else frozenset({self.best.number})
        signs = [objective.sign for objective in self.plan.objectives]
        scores = self._means(
            {
                trial.number: [
                    sign * value for sign, value in zip(signs, trial.values, strict=True)
                ]
                for trial in self._finished
            }
        )
        if self.none_keeps:
            return frozenset() if self.default is None else frozenset({self.default.number})
        scores = {number: own for number, own in scores.items() if number not in self.broken}
        least = min((self._doubts[number] for number in scores), default=(False, 0))
        scores = {number: own for number, own in scores.items() if self._doubts[number] == least}
        return frozenset(
            number
            for number, own in scores.items()
            if not any(_dominates(other, own) for other in scores.values())
        )

    def by_seed(self, trial: FrozenTrial) -> dict[int, FrozenTrial]:
        """Return the finished trials with the same configuration by seed, if the seed is searched.

        Their mean is what counts, see `search.study.seeds`.
        """
        if SEED not in self.plan.space.paths:
            return {}
        space, own = self.plan.space, configuration(params_of(self.plan.space, trial))
        same = (each for each in self._finished if self._configurations[each.number] == own)
        return {params_of(space, each)[SEED]: each for each in same}

    @cached_property
    def _finished(self) -> tuple[FrozenTrial, ...]:
        return tuple(trial for trial in self.considered if trial.state.name == "COMPLETE")

    @property
    def _is_doubtful(self) -> bool:
        """Whether the best trial by score is better than the default by its noise alone."""
        if self.default is None or not self.is_cautious or self.chosen_by != self.plan.chosen_by:
            return False
        if self.default.number in self.broken:
            return False
        return is_within_error(self.by_score[0], self.default, self.compared_scores)

    def _losses(self, trial: FrozenTrial) -> list[float]:
        """Return what a finished trial is compared by, in order; less is better."""
        metrics = trial.user_attrs.get(METRICS, {}) if self.chosen_by else {}
        of_metrics, of_objectives = self._least
        return [
            *(sign * metrics[name] for name, sign in of_metrics),
            *(sign * value for sign, value in zip(of_objectives, trial.values, strict=True)),
        ]

    @cached_property
    def _least(self) -> tuple[Sequence[tuple[str, int]], Sequence[int]]:
        """The signs that make metrics and objectives losses: less is better."""
        signs = self.signs if self.chosen_by else {}
        of_metrics = [(name, -sign) for name, sign in signs.items()]
        return of_metrics, [-objective.sign for objective in self.plan.objectives]

    def _means(self, scores: Mapping[int, list[float]]) -> Mapping[int, list[float]]:
        """Return the scores of finished trials, by number; means over searched seeds."""
        if SEED not in self.plan.space.paths:
            return scores
        return means(scores, self._configurations)

    @cached_property
    def _doubts(self) -> Mapping[int, tuple[bool, int]]:
        """How far the means of finished trials may be luck, by number; the least first.

        It is whether another seed ended without a result, and how many seeds are missing.
        """
        space = self.plan.space
        if SEED not in space.paths:
            return {trial.number: (False, 0) for trial in self._finished}
        off = broken_off((trial, params_of(space, trial)) for trial in self.considered)
        own = self._configurations
        arm = next(iter(space.arms.values()))  # every arm has the same seeds
        lacking = num_lacking(len(arm[SEED].values or ()), own)
        return {number: (own[number] in off, lacking[number]) for number in own}

    @cached_property
    def _configurations(self) -> Mapping[int, str]:
        """The configurations of the finished trials without the seed, by number."""
        space = self.plan.space
        return {trial.number: configuration(params_of(space, trial)) for trial in self._finished}


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return whether `one` is better in some objective and worse in none."""
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))
