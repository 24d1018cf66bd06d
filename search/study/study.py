"""A study: its queue of trials, readable by any process.

Optuna's storage is the queue; there is no coordinator that could fail. A trial waits, runs and
ends under one number; an interrupted one waits again. Numbers have no gaps, so the budget is exact
with any number of workers: a trial belongs to it if its number is below `num_trials`. Only the
worker that has claimed a trial changes it (`search.study.session`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.rows.corpus import Corpus
from search.plan.confirm import confirms, fresh_of
from search.plan.plan import Plan
from search.storage.add import add_trials, mark_started
from search.storage.attribute import (
    CHOSEN_SCORES,
    CONFIRMED,
    DATA,
    FOLDER,
    ID,
    METRICS,
    PRIOR,
    ROW_SCORES,
    START,
    STOP,
    drop_attribute,
    dropped_numbers,
)
from search.storage.lease import used_seconds
from search.study.attempt import inside
from search.study.confirmed import Confirmed, Costs, Decision, decide
from search.study.gain import is_within_error
from search.study.knowledge import Prior
from search.study.params import params_of
from search.study.seeds import SEED, broken_off, configuration, means, num_lacking
from search.study.suggest import first_values, waiting_trial

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from search.storage.tables import StudyStorage


class Study:
    """An open study, readable by any process; `create_or_update` and `load_study` return one.

    Attributes:
        plan: Its configuration, space, budget and objectives.
        folder: Its files.
        tables: Its storage.
        id: Its ID in the storage.

    """

    def __init__(
        self, plan: Plan, folder: Path, study: optuna.Study, storage: StudyStorage
    ) -> None:
        self.plan = plan
        self.folder = folder
        self.tables = storage
        self.id: int = study._study_id
        self._study = study

    @property
    def optuna(self) -> optuna.Study:
        """The study as an Optuna object, for Optuna's own tools."""
        return self._study

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials of the budget, by number."""
        trials = self._study.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.number < self.plan.num_trials]

    def trial(self, number: int) -> FrozenTrial:
        """Return the current state of the trial with that number."""
        return self._study.get_trials(deepcopy=False)[number]

    @property
    def data_fingerprint(self) -> str:
        """The fingerprint of the rows that the study started with."""
        return str(self._attributes[DATA])

    def fingerprint_of(self, corpus: Corpus) -> str:
        """Return the fingerprint of a trial's rows that must be equal in all its trials.

        If it confirms the first few of another study, its trials are on different splits.
        """
        is_split = self.plan.composition.confirms is not None
        return corpus.pool_fingerprint if is_split else corpus.fingerprint

    @property
    def token(self) -> str:
        """Random text that distinguishes the study from an earlier one of the same name."""
        return str(self._attributes.get(ID))

    @property
    def prior(self) -> Prior | None:
        """What it has taken over from another study; None if nothing."""
        prior: Prior | None = self._attributes.get(PRIOR)
        return prior or None  # empty: it was given up

    def take_over(self, prior: Prior) -> None:
        """Store what it takes over from another study."""
        self._study._storage.set_study_system_attr(self.id, PRIOR, dict(prior))

    @property
    def dropped(self) -> frozenset[int]:
        """The numbers of the trials that `finesweep drop` took out of consideration."""
        return dropped_numbers(self._attributes)

    @property
    def considered(self) -> list[FrozenTrial]:
        """The trials of the budget that are not dropped."""
        dropped = self.dropped
        return [trial for trial in self.trials if trial.number not in dropped]

    @property
    def num_ended(self) -> int:
        """Trials of the budget that will not run again."""
        return sum(trial.state.is_finished() for trial in self.trials)

    @property
    def best(self) -> FrozenTrial | None:
        """The best finished trial of `ranking`; the earliest if tied."""
        return next(iter(self.ranking), None)

    @property
    def ranking(self) -> list[FrozenTrial]:
        """The finished trials, best first: as `by_score`, but for the first one.

        That is the one that was confirmed (`search.study.confirmed`). Without it, the default is
        the first one if the best is within its noise and the study is cautious.
        """
        ranked = self.by_score
        names, decision = self._compared(ranked), self.decision
        first: FrozenTrial | None = None
        if decision is not None:
            first = next((trial for trial in ranked if trial.number == decision.best), None)
        elif ranked and self.is_cautious and names == self.plan.chosen_by:
            default, scores = self.default, self._scores_of(names)
            if default is not None and is_within_error(ranked[0], default, scores):
                first = default
        if first is not None:
            ranked.remove(first)
            ranked.insert(0, first)
        return ranked

    @property
    def by_score(self) -> list[FrozenTrial]:
        """The finished trials, best first: by `chosen_by`, then by the objectives.

        Several objectives are compared in their order. If the seed is searched, configurations with
        more finished seeds come first, those of which a seed ended without a result last.
        """
        finished = [trial for trial in self.considered if trial.state.name == "COMPLETE"]
        names = self._compared(finished)
        directions = self.plan.default.task.directions if names else {}
        signs = [objective.sign for objective in self.plan.objectives]

        def loss(trial: FrozenTrial) -> list[float]:
            metrics = trial.user_attrs[METRICS] if names else {}
            chosen = [(1 if directions[n] == "minimize" else -1) * metrics[n] for n in names]
            objectives = zip(signs, trial.values, strict=True)
            return [*chosen, *(-sign * value for sign, value in objectives)]

        losses = {trial.number: loss(trial) for trial in finished}
        mean, doubts = self._means(finished, losses), self._doubts(finished)

        def key(trial: FrozenTrial) -> tuple[tuple[bool, int], list[float], list[float]]:
            return doubts[trial.number], mean[trial.number], losses[trial.number]

        return sorted(finished, key=key)  # stable: ties keep the earlier trial first

    @property
    def compared_scores(self) -> str:
        """The attribute with what each row contributes to what the trials are compared by."""
        return self._scores_of(self.chosen_by)

    def _scores_of(self, names: tuple[str, ...]) -> str:
        is_metric = names in ((), (self.plan.objectives[0].short,))
        return ROW_SCORES if is_metric else CHOSEN_SCORES

    @property
    def confirmed(self) -> Confirmed | None:
        """What the first few came to on fresh splits; None if they were not trained again."""
        values = self._attributes.get(CONFIRMED) if confirms(self.plan) else None
        return None if values is None else Confirmed.from_dict(values)

    def confirm(self, confirmed: Confirmed) -> None:
        """Store what the first few came to on fresh splits, which decides what is the best."""
        self._study._storage.set_study_system_attr(self.id, CONFIRMED, confirmed.as_dict())

    @property
    def confirmed_costs(self) -> Costs:
        """The costs of the confirmed trials that count, see `search.study.confirmed`."""
        confirmed = self.confirmed
        if confirmed is None:
            return {}
        numbers = [trial.number for trial in self.considered]
        return confirmed.costs(numbers, fresh_of(self.plan).values, self.signs)

    @property
    def decision(self) -> Decision | None:
        """Which of the confirmed trials is the best; None if none was confirmed."""
        confirmed, costs, default = self.confirmed, self.confirmed_costs, self.default
        if confirmed is None or not costs:
            return None
        errors = confirmed.row_errors(fresh_of(self.plan).values)
        known = default.number if default is not None and default.number in costs else None
        return decide(costs, known, errors)

    @property
    def signs(self) -> dict[str, int]:
        """The validation metrics that trials are compared by; 1 if more is better, else -1."""
        names, objective = self.chosen_by, self.plan.objectives[0]
        if not names:
            return {objective.short: objective.sign}
        directions = self.plan.default.task.directions
        return {name: 1 if directions[name] == "maximize" else -1 for name in names}

    @property
    def default(self) -> FrozenTrial | None:
        """The finished trial of the unmodified configuration; None if there is none."""
        values = dict(self.plan.default_values)
        finished = (trial for trial in self.considered if trial.state.name == "COMPLETE")
        return next((trial for trial in finished if self.params_of(trial) == values), None)

    @property
    def is_cautious(self) -> bool:
        """Whether another trial must be better than the default by more than its noise."""
        if self.plan.is_asked or len(self.plan.objectives) > 1:
            return False
        if SEED in self.plan.space.paths:
            return False  # the noise of one seed says little about a mean
        return self.plan.default.trainer.select.is_cautious

    @property
    def chosen_by(self) -> tuple[str, ...]:
        """The validation metrics that choose the best trial, each on a tie of those before.

        Those of `search.select` that every finished trial has; none with several objectives.
        """
        return self._compared([t for t in self.considered if t.state.name == "COMPLETE"])

    def _compared(self, finished: Sequence[FrozenTrial]) -> tuple[str, ...]:
        if len(self.plan.objectives) > 1:
            return ()
        names, kept = self.plan.chosen_by, [trial.user_attrs.get(METRICS, {}) for trial in finished]
        return tuple(name for name in names if all(name in metrics for metrics in kept))

    @property
    def front(self) -> frozenset[int]:
        """The numbers of the trials on the Pareto front; with one objective, of the best trial."""
        if len(self.plan.objectives) == 1:
            return frozenset() if self.best is None else frozenset({self.best.number})
        signs = [objective.sign for objective in self.plan.objectives]
        ranking = self.ranking
        doubts = self._doubts(ranking)
        least = min(doubts.values(), default=(False, 0))
        ranking = [trial for trial in ranking if doubts[trial.number] == least]
        scores = self._means(
            ranking,
            {
                t.number: [sign * value for sign, value in zip(signs, t.values, strict=True)]
                for t in ranking
            },
        )
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
        own = configuration(self.params_of(trial))
        same = (t for t in self.ranking if configuration(self.params_of(t)) == own)
        return {self.params_of(t)[SEED]: t for t in sorted(same, key=lambda t: t.number)}

    def _means(
        self, trials: Sequence[FrozenTrial], scores: Mapping[int, list[float]]
    ) -> Mapping[int, list[float]]:
        """Return the trials' scores, by number; means over the seeds if those are searched."""
        if SEED not in self.plan.space.paths:
            return scores
        return means(scores, {t.number: configuration(self.params_of(t)) for t in trials})

    def _doubts(self, trials: Sequence[FrozenTrial]) -> Mapping[int, tuple[bool, int]]:
        """Return how far the means of finished trials may be luck, by number; the least first.

        It is whether another seed ended without a result, and how many seeds are missing.
        """
        values = {trial.number: self.params_of(trial) for trial in trials}
        if SEED not in self.plan.space.paths:
            return dict.fromkeys(values, (False, 0))
        off = broken_off((trial, self.params_of(trial)) for trial in self.considered)
        own = {number: configuration(each) for number, each in values.items()}
        arm = next(iter(self.plan.space.arms.values()))  # every arm has the same seeds
        lacking = num_lacking(len(arm[SEED].values or ()), own)
        return {number: (own[number] in off, lacking[number]) for number in values}

    @property
    def is_stopping(self) -> bool:
        """Whether `finesweep stop` has asked the study to start no more trials."""
        return bool(self._attributes.get(STOP))

    def ask_to_stop(self, stop: bool) -> None:
        """Ask the study to start no more trials, or with False allow trials again."""
        if stop != self.is_stopping:
            self._study._storage.set_study_system_attr(self.id, STOP, stop)

    def drop(self, number: int, *, undo: bool = False) -> None:
        """Take a trial out of consideration, or back into it."""
        self._study._storage.set_study_system_attr(self.id, drop_attribute(number), not undo)

    def params_of(self, trial: FrozenTrial) -> dict[str, Any]:
        """Return a trial's values by config path."""
        return params_of(self.plan.space, trial)

    def folder_of(self, trial: FrozenTrial) -> Path:
        """Return the folder of the trial's last attempt."""
        return inside(self.folder, str(trial.user_attrs[FOLDER]))

    def queue_first(self) -> None:
        """Queue the configurations that the plan tries first, each once, within the budget."""
        first = first_values(self.plan, self.prior)
        templates = [waiting_trial(self.plan.space, values) for values in first]
        add_trials(self.tables, self.id, self.plan.num_trials, templates)

    def mark_first(self, first: Sequence[Mapping[str, Any]]) -> None:
        """Note which trials are those that the study's last plan tried `first`.

        Only needed by a study of an earlier version, which did not store it.
        """
        if not any(START in trial.system_attrs for trial in self._study.get_trials(deepcopy=False)):
            mark_started(self.tables, self.id, first)

    @property
    def is_over(self) -> bool:
        """Whether no trial will start or restart."""
        return self.is_stopping or self.hours_used_up or self.num_ended >= self.plan.num_trials

    @property
    def seconds_left(self) -> tuple[float, int] | None:
        """The remaining training seconds of `search.max_hours`, and how many workers use them.

        None if there is no limit.
        """
        max_hours = self.plan.search.settings.max_hours
        if max_hours is None:
            return None

        def look() -> tuple[float, int]:
            with self.tables.engine.begin() as connection:
                return used_seconds(connection, self.id)

        used, num_busy = self.tables.retry(look)
        return max_hours * 3600 - used, num_busy

    @property
    def hours_used_up(self) -> bool:
        """Whether the training time of `search.max_hours` is used up."""
        left = self.seconds_left
        return left is not None and left[0] <= 0

    @property
    def _attributes(self) -> Mapping[str, Any]:
        attributes: Mapping[str, Any] = self._study._storage.get_study_system_attrs(self.id)
        return attributes


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return whether `one` is better in some objective and worse in none."""
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))
