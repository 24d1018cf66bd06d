"""A study: the queue of trials, and the only place where a trial changes its state.

Optuna's storage is the queue; there is no coordinator to lose. A trial waits, runs and ends
under one number; an interrupted one waits again. Numbers have no gaps, so the budget is exact
with any number of workers: a trial belongs to it if its number is below `num_trials`.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.atomic import write_text
from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.record import Ending, Outcome, Point
from lightning_modules.run import BEST_FILE, CHECKPOINT_FILE
from search.config import Tree, resolved, to_yaml
from search.lease import Worker
from search.plan import Plan, build_plan
from search.pruner.base import Progress
from search.sampler.base import seeded_sampler
from search.storage import WORKER, claim, open_storage, requeue

if TYPE_CHECKING:
    import optuna
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

DATABASE = "study.db"
CONFIG_FILE = "config.yaml"

# Optuna user attributes of a trial; stock dashboards show them.
VALUES = "values"  # of the default, where it lies outside the space
ATTEMPT = "attempt"
FOLDER = "folder"
ENDING = "ending"
REASON = "reason"
METRICS = "metrics"
BEST_EPOCH = "best_epoch"
SECONDS = "seconds"
VERDICT = "verdict"
LENGTH = "examples"  # in all, and up to where a longer run would be the same
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
    """An open study; `create_or_update` and `load_study` return one."""

    def __init__(self, plan: Plan, folder: Path, study: optuna.Study, storage: RDBStorage) -> None:
        self.plan = plan
        self.folder = folder
        self._study = study
        self._storage = study._storage  # Optuna's cache in front of ...
        self._rdb = storage

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials of the budget, by number."""
        return [t for t in self._study.get_trials(deepcopy=False) if self._in_budget(t)]

    @property
    def data_fingerprint(self) -> str:
        """The fingerprint of the rows that the study began with."""
        return str(self._study.user_attrs[DATA])

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
        """Put the default and `search.enqueue` into the queue, each once."""
        queued = []
        for trial in self._study.get_trials(deepcopy=False):
            queued.append(trial.user_attrs.get(VALUES) or trial.system_attrs.get("fixed_params"))
        for values in map(dict, self.plan.first):
            if values not in queued:
                # Optuna refuses parameters outside their distribution, as a default may be.
                outside = len(values) == len(self.plan.space.distributions) and not (
                    self.plan.space.contains(values)
                )
                self._add(values=values) if outside else self._add(fixed_params=values)

    def requeue_dead(self) -> int:
        """Put trials of workers that are gone back into the queue; return how many."""
        from optuna.trial import TrialState

        num_requeued = 0
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            mark = str(trial.user_attrs.get(WORKER, ""))
            is_dead = not mark or not Worker.from_mark(mark).is_alive()
            if is_dead and requeue(self._rdb, trial._trial_id, mark):
                num_requeued += 1
        return num_requeued

    def next_attempt(self, worker: Worker) -> Attempt | None:
        """Claim the next trial for `worker`; None when the budget is used up."""
        from optuna.trial import TrialState

        while not self.hours_used_up:
            trials = self.trials
            for trial in trials:
                is_waiting = trial.state is TrialState.WAITING
                if is_waiting and claim(self._rdb, trial._trial_id, worker.mark):
                    return self._begin(trial)
            if len(trials) < self.plan.search.settings.num_trials:
                self._add()
            elif not self.requeue_dead():
                return None
        return None

    def began(self, attempt: Attempt, num_examples: int, stable_examples: int) -> None:
        """Store how long the attempt's run is."""
        self._set(attempt.number, {LENGTH: [num_examples, stable_examples]})

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
            [self._progress(other) for other in others if LENGTH in other.user_attrs],
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
            self.release(attempt)
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

    def release(self, attempt: Attempt, reason: str | None = None) -> None:
        """Let the attempt's trial wait for its next one."""
        if reason is not None:
            self._set(attempt.number, {REASON: reason})
        trial = self._trial(attempt.number)
        requeue(self._rdb, trial._trial_id, str(trial.user_attrs[WORKER]))

    def failed(self, attempt: Attempt, reason: str) -> None:
        """Store that an attempt broke."""
        from optuna.trial import TrialState

        self._set(attempt.number, {ENDING: "failed", REASON: reason})
        self._study.tell(attempt.number, state=TrialState.FAIL)
        self._tidy()

    def _begin(self, trial: FrozenTrial) -> Attempt:
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
            {ATTEMPT: attempt, FOLDER: relative.as_posix(), ENDING: None, REASON: None},
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

    @property
    def hours_used_up(self) -> bool:
        """Whether `search.max_hours` of training are over."""
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
        num_examples, stable_examples = trial.user_attrs[LENGTH]
        return Progress(values, stable_examples, num_examples)

    def _ranking(self) -> list[FrozenTrial]:
        """Return the finished trials, the best first, the earlier first of equals."""
        finished = [trial for trial in self.trials if trial.state.name == "COMPLETE"]
        finished.sort(key=lambda trial: trial.value or 0.0, reverse=self._maximized)
        return finished  # sort is stable, also in reverse

    @property
    def _maximized(self) -> bool:
        return self.plan.default.task.direction == "maximize"

    def _tidy(self) -> None:
        """Delete what ended trials need no more: checkpoints, and all weights but the best."""
        ended = [t for t in self.trials if t.state.is_finished() and FOLDER in t.user_attrs]
        kept = {trial.number for trial in self._ranking()[: self.plan.search.settings.keep]}
        for trial in ended:
            last = self.folder_of(trial)
            for path in last.parent.glob("*/*"):
                is_winners = trial.number in kept and path.parent == last
                if path.name == CHECKPOINT_FILE or (path.name == BEST_FILE and not is_winners):
                    path.unlink(missing_ok=True)


def run_tree(tree: Tree, values: Mapping[str, Any]) -> Tree:
    """Return one trial's resolved configuration, without the search."""
    whole = resolved(tree, values)
    return {key: value for key, value in whole.items() if key not in ("search", "study")}


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
    return Study(plan, folder, study, storage)


def load_study(folder: Path) -> Study:
    """Open a study as it was last asked for; raise ConfigError where there is none."""
    before = stored(folder)
    if before is None:
        fix = "finesweep sweep begins it."
        raise ConfigError(Problem("study", "must have begun", folder.name, fix))
    return open_study(build_plan(before[0]), folder)


def stored(folder: Path) -> tuple[Tree, str] | None:
    """Return the tree and data fingerprint of the study in `folder`; None where there is none."""
    import optuna
    from sqlalchemy.exc import DatabaseError

    if not (folder / DATABASE).is_file():
        return None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.load_study(study_name=folder.name, storage=open_storage(folder / DATABASE))
    except KeyError:
        return None  # killed between making the tables and the study
    except DatabaseError as error:
        rule = f"{folder / DATABASE} must be an SQLite database"
        raise ConfigError(Problem("study", rule, Verbatim(str(error.orig)))) from None
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
