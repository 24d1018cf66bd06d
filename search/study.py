"""A study: the queue of trials, and the only place where a trial changes its state.

Optuna's storage is the queue; there is no coordinator to lose. A trial waits, runs and ends
under one number; an interrupted one waits again. Numbers have no gaps, so the budget is exact
with any number of workers: a trial belongs to it if its number is below `num_trials`.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.atomic import write_text
from lightning_modules.record import Ending, Outcome, Point
from search.config import Tree, resolved, to_yaml
from search.lease import Worker
from search.plan import Plan, build_plan
from search.pruner.base import Progress
from search.sampler.base import seeded_sampler
from search.storage import open_storage

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

DATABASE = "study.db"
CONFIG_FILE = "config.yaml"

# Optuna user attributes of a trial; stock dashboards show them.
VALUES = "values"  # of the default, where it lies outside the space
ATTEMPT = "attempt"
WORKER = "worker"
FOLDER = "folder"
ENDING = "ending"
REASON = "reason"
METRICS = "metrics"
BEST_EPOCH = "best_epoch"
SECONDS = "seconds"
VERDICT = "verdict"
NUM_EXAMPLES = "num_examples"
STABLE_EXAMPLES = "stable_examples"
# ... and of the study.
TREE = "finesweep.tree"
DATA = "finesweep.data"


@dataclass(frozen=True)
class Attempt:
    """One try at a trial.

    Attributes:
        number: The trial's number, the same over all attempts.
        attempt: 1 for the first.
        values: What the trial varies, by config path.
        folder: Where the attempt's files go.

    """

    number: int
    attempt: int
    values: Mapping[str, Any]
    folder: Path


class Study:
    """An open study; `create_study` and `load_study` make one."""

    def __init__(self, plan: Plan, folder: Path, study: optuna.Study) -> None:
        self.plan = plan
        self.folder = folder
        self._study = study
        self._storage = study._storage

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials of the budget, by number."""
        return [t for t in self._study.get_trials(deepcopy=False) if self._in_budget(t)]

    @property
    def num_ended(self) -> int:
        """Trials of the budget that will not run again."""
        return sum(trial.state.is_finished() for trial in self.trials)

    @property
    def best(self) -> FrozenTrial | None:
        """The finished trial with the best value, the earliest of equals."""
        return next(iter(self._ranking()), None)

    def values_of(self, trial: FrozenTrial) -> dict[str, Any]:
        """Return what a trial varied, by config path."""
        return dict(trial.user_attrs.get(VALUES, trial.params))

    def folder_of(self, trial: FrozenTrial) -> Path:
        """Return the folder of the trial's last attempt."""
        return self.folder / str(trial.user_attrs[FOLDER])

    def queue_first(self) -> None:
        """Put the default and `search.enqueue` into the queue, once."""
        queued = [trial.user_attrs.get(VALUES) for trial in self._study.get_trials(deepcopy=False)]
        fixed = [
            trial.system_attrs.get("fixed_params")
            for trial in self._study.get_trials(deepcopy=False)
        ]
        default = dict(self.plan.default_values)
        if default not in queued and default not in fixed:
            if self.plan.space.contains(default):
                self._add(fixed_params=default)
            else:  # Optuna refuses parameters outside their distribution
                self._add(values=default)
        for values in self.plan.enqueued:
            if dict(values) not in fixed:
                self._add(fixed_params=dict(values))

    def requeue_dead(self) -> int:
        """Put trials of workers that are gone back into the queue; return how many."""
        from optuna.trial import TrialState

        dead = [
            trial
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            if not _worker_of(trial).is_alive()
        ]
        for trial in dead:
            self._set(trial.number, {REASON: "its worker died"})
            self._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
        return len(dead)

    def next_attempt(self, worker: Worker) -> Attempt | None:
        """Claim the next trial for `worker`; None when the budget is used up."""
        from optuna.trial import TrialState

        while not self._hours_used_up():
            trials = self.trials
            for trial in trials:
                # False where another worker was faster.
                if trial.state is TrialState.WAITING and self._storage.set_trial_state_values(
                    trial._trial_id, TrialState.RUNNING
                ):
                    return self._begin(trial, worker)
            if len(trials) >= self.plan.search.settings.num_trials:
                return None
            self._add()
        return None

    def began(self, attempt: Attempt, num_examples: int, stable_examples: int) -> None:
        """Store how long the attempt's run is."""
        lengths = {NUM_EXAMPLES: num_examples, STABLE_EXAMPLES: stable_examples}
        self._set(attempt.number, lengths)

    def progress(self, attempt: Attempt, point: Point) -> str | None:
        """Store a validation; return a reason to prune the trial, or None."""
        from optuna.trial import TrialState

        trial = self._trial(attempt.number)
        if point.examples not in trial.intermediate_values:
            value = point.metrics[self.plan.default.task.metric]
            self._storage.set_trial_intermediate_value(trial._trial_id, point.examples, value)
            trial = self._trial(attempt.number)
        others = [other for other in self.trials if other.number != attempt.number]
        num_finished = sum(other.state is TrialState.COMPLETE for other in others)
        return self.plan.search.pruner.reason_to_stop(
            self._progress(trial),
            point.number,
            [self._progress(other) for other in others if NUM_EXAMPLES in other.user_attrs],
            num_finished,
        )

    def ended(self, attempt: Attempt, outcome: Outcome) -> None:
        """Store how an attempt ended; an interrupted one waits for the next."""
        from optuna.trial import TrialState

        self._set(
            attempt.number,
            {
                ENDING: outcome.ending.value,
                REASON: outcome.reason,
                SECONDS: round(outcome.seconds, 3),
                VERDICT: outcome.verdict,
                METRICS: dict(outcome.best.metrics) if outcome.best else {},
                BEST_EPOCH: outcome.best.epoch if outcome.best else None,
            },
        )
        trial = self._trial(attempt.number)
        if outcome.ending is Ending.interrupted:
            self._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
        elif outcome.ending is Ending.finished:
            assert outcome.best is not None, "a finished run has been validated"
            value = outcome.best.metrics[self.plan.default.task.metric]
            assert math.isfinite(value), "a score that is no number is no result"
            self._study.tell(attempt.number, value)
        else:
            if outcome.ending is Ending.diverged:
                # A violated constraint teaches the sampler; a failure it would not see.
                self._storage.set_trial_system_attr(trial._trial_id, "constraints:diverged", 1.0)
            self._study.tell(attempt.number, state=TrialState.PRUNED)
        self._tidy()

    def failed(self, attempt: Attempt, reason: str) -> None:
        """Store that an attempt broke."""
        from optuna.trial import TrialState

        self._set(attempt.number, {ENDING: "failed", REASON: reason})
        self._study.tell(attempt.number, state=TrialState.FAIL)

    def _begin(self, trial: FrozenTrial, worker: Worker) -> Attempt:
        import optuna

        if VALUES in trial.user_attrs:
            values = dict(trial.user_attrs[VALUES])
        else:
            values = self.plan.space.suggest(optuna.trial.Trial(self._study, trial._trial_id))
        attempt = int(trial.user_attrs.get(ATTEMPT, 0)) + 1
        relative = Path("trials") / f"{trial.number:04d}" / f"attempt-{attempt}"
        folder = self.folder / relative
        folder.mkdir(parents=True, exist_ok=True)
        if FOLDER in trial.user_attrs:
            _take_over(self.folder_of(trial), folder)
        self._set(
            trial.number,
            {ATTEMPT: attempt, WORKER: worker.as_dict(), FOLDER: relative.as_posix()},
        )
        write_text(folder / CONFIG_FILE, to_yaml(run_tree(self.plan.tree, values)))
        return Attempt(trial.number, attempt, values, folder)

    def _add(
        self, fixed_params: Mapping[str, Any] | None = None, values: Mapping[str, Any] | None = None
    ) -> None:
        from optuna.trial import TrialState, create_trial

        template = create_trial(
            state=TrialState.WAITING,
            system_attrs={"fixed_params": dict(fixed_params)} if fixed_params else {},
            user_attrs={VALUES: dict(values)} if values else {},
        )
        self._storage.create_new_trial(self._study._study_id, template_trial=template)

    def _in_budget(self, trial: FrozenTrial) -> bool:
        return trial.number < self.plan.search.settings.num_trials

    def _hours_used_up(self) -> bool:
        max_hours = self.plan.search.settings.max_hours
        if max_hours is None:
            return False
        seconds = sum(float(trial.user_attrs.get(SECONDS, 0)) for trial in self.trials)
        return seconds >= max_hours * 3600

    def _trial(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]

    def _set(self, number: int, values: Mapping[str, Any]) -> None:
        trial_id = self._trial(number)._trial_id
        for name, value in values.items():
            self._storage.set_trial_user_attr(trial_id, name, value)

    def _progress(self, trial: FrozenTrial) -> Progress:
        sign = 1 if self._maximized else -1
        values = {step: sign * value for step, value in trial.intermediate_values.items()}
        lengths = trial.user_attrs
        return Progress(values, lengths[STABLE_EXAMPLES], lengths[NUM_EXAMPLES])

    def _ranking(self) -> list[FrozenTrial]:
        """Return the finished trials, the best first, the earlier first of equals."""
        finished = [trial for trial in self.trials if trial.state.name == "COMPLETE"]
        finished.sort(key=lambda trial: trial.value or 0.0, reverse=self._maximized)
        return finished  # sort is stable, also in reverse

    @property
    def _maximized(self) -> bool:
        return self.plan.default.task.direction == "maximize"

    def _tidy(self) -> None:
        """Delete the weights of all ended trials but the best few."""
        from lightning_modules.run import BEST_FILE

        ended = [t for t in self.trials if t.state.is_finished() and FOLDER in t.user_attrs]
        kept = {trial.number for trial in self._ranking()[: self.plan.search.settings.keep]}
        for trial in ended:
            if trial.number not in kept:
                for path in self.folder_of(trial).parent.glob(f"*/{BEST_FILE}"):
                    path.unlink(missing_ok=True)


def run_tree(tree: Tree, values: Mapping[str, Any]) -> Tree:
    """Return one trial's resolved configuration, without the search."""
    whole = resolved(tree, values)
    return {key: value for key, value in whole.items() if key not in ("search", "study")}


def _worker_of(trial: FrozenTrial) -> Worker:
    mark = trial.user_attrs.get(WORKER)
    # A worker that died between its claim and its mark has left none.
    return Worker(**mark) if mark else Worker(os.uname().nodename, -1, 0.0)


def _take_over(before: Path, folder: Path) -> None:
    """Give an attempt the files of the one before it; both keep their own from then on."""
    if before.is_dir() and before != folder:
        for path in before.iterdir():
            if path.is_file() and not path.name.startswith("."):
                shutil.copy2(path, folder / path.name)


def study_folder(root: Path, name: str) -> Path:
    """Return where a study's files go."""
    return root / "studies" / name


def open_study(plan: Plan, folder: Path) -> Study:
    """Open the study's storage under a plan; the study must be there."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = seeded_sampler(plan.search.sampler, plan.default.seed)
    storage = open_storage(folder / DATABASE)
    study = optuna.load_study(study_name=plan.name, storage=storage, sampler=sampler)
    return Study(plan, folder, study)


def load_study(folder: Path) -> Study:
    """Open a study as it was last asked for."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(folder / DATABASE)
    study = optuna.load_study(study_name=folder.name, storage=storage)
    return open_study(build_plan(json.loads(study.user_attrs[TREE])), folder)


def stored(folder: Path) -> tuple[Tree, str] | None:
    """Return the tree and data fingerprint of the study in `folder`; None where there is none."""
    import optuna

    if not (folder / DATABASE).is_file():
        return None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.load_study(study_name=folder.name, storage=open_storage(folder / DATABASE))
    except KeyError:
        return None  # killed between making the tables and the study
    if TREE not in study.user_attrs:
        return None
    return json.loads(study.user_attrs[TREE]), str(study.user_attrs[DATA])


def create_or_update(plan: Plan, folder: Path, fingerprint: str) -> Study:
    """Make the study, or bring the stored budget and settings up to `plan`'s."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=plan.name,
        storage=open_storage(folder / DATABASE),
        direction=plan.default.task.direction,
        load_if_exists=True,
    )
    study.set_metric_names([f"validation/{plan.default.task.metric}"])
    study.set_user_attr(TREE, json.dumps(plan.tree))
    study.set_user_attr(DATA, fingerprint)
    return open_study(plan, folder)
