"""Repeat a trial to the same score: by a command that names every setting, or from its study."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_modules.check import check_same_rows
from lightning_modules.error import ConfigError, Problem, UserError
from lightning_modules.outcome import Outcome
from lightning_modules.rows.corpus import Corpus
from lightning_modules.run import Run
from search.config import Tree, compose, literal, run_tree
from search.machine.cpu import num_cores
from search.machine.provenance import PROVENANCE_FILE
from search.storage.attribute import METRICS, THREADS
from search.study.ask import check_trained
from search.study.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Repeat:
    """A trial to train again.

    Attributes:
        run: Its configuration.
        tree: The same configuration as a resolved tree.
        origin: Its name in messages, e.g. `trial 3 of study mine`.
        study: Its study.
        num_threads: CPU threads it trained with; None if it has not ended.
        metric: The metric that chose its weights.
        value: That metric's best value; None if it has not finished.

    """

    run: Run
    tree: Tree
    origin: str
    study: Study
    num_threads: int | None
    metric: str
    value: float | None

    def check(self, corpus: Corpus) -> None:
        """Raise DataError unless the rows are the study's."""
        check_same_rows(self.study.fingerprint_of(corpus), self.study.data_fingerprint)

    @contextmanager
    def same_threads(self) -> Iterator[None]:
        """Use the trial's number of threads inside: with another number, sums round differently."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(self.num_threads or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def compared(self, outcome: Outcome) -> str:
        """Return a sentence on whether the run has the trial's score again."""
        assert outcome.best is not None
        value = outcome.best.metrics[self.metric]
        if self.value is None:
            return f"{self.origin} did not finish, so there is no score to compare with."
        if value == self.value:
            return f"It repeats {self.origin}, to the same score."
        return (
            f"{self.origin} had {self.metric} {self.value:.6g}: other hardware or versions "
            f"round differently; its {PROVENANCE_FILE} lists what it ran on."
        )


def find_repeat(study: Study, number: str) -> Repeat:
    """Return the trial of that number; raise ConfigError if there is none."""
    check_trained(study)
    trials = {str(trial.number): trial for trial in study.trials}
    if number not in trials or not study.params_of(trials[number]):
        rule = f"must be a trial of study {study.plan.name}, 0 to {len(trials) - 1}"
        raise ConfigError(Problem("trial", rule, number))
    trial = trials[number]
    finished = trial.state.name == "COMPLETE"
    metric = study.plan.default.task.metric
    return Repeat(
        run=study.plan.run(study.params_of(trial)),
        tree=_own(study, trial),
        origin=f"trial {number} of study {study.plan.name}",
        study=study,
        num_threads=trial.user_attrs.get(THREADS),
        metric=metric,
        value=trial.user_attrs[METRICS][metric] if finished else None,
    )


def repeat_command(study: Study, trial: FrozenTrial) -> str:
    """Return a shell command that repeats the trial, to the same weights and scores.

    It names every setting, so it needs neither the study nor its files. If its words do not compose
    to the same configuration, e.g. with a config folder of the user, it names the study instead.
    """
    words = _words(study, trial)
    if _composed(words) != _own(study, trial):
        words = [f"study={study.plan.name}", f"trial={trial.number}"]
    command = shlex.join(["finesweep", "train", *words])
    threads = trial.user_attrs.get(THREADS)
    # With another number of threads, sums round differently.
    if threads is None or threads == num_cores():
        return command
    return f"OMP_NUM_THREADS={threads} {command}"


def _words(study: Study, trial: FrozenTrial) -> list[str]:
    values = study.params_of(trial)
    settings = study.plan.settings_of(values)
    words = [word for word in study.plan.arm(values).words if word.split("=")[0] not in settings]
    metric = study.plan.default.task.metric
    words = [word for word in words if not word.startswith("task.metric=")]
    named = study.plan.search.settings
    if named.metric is not None or named.objectives is not None:
        words.append(f"task.metric={metric}")
    words = [word for word in words if not word.startswith("trainer.select=")]
    # A study settles what `auto` means; to later versions it may mean another rule.
    words.append(f"trainer.select={study.plan.default.trainer.select.value}")
    return [*words, *(f"{path}={literal(value)}" for path, value in settings.items())]


def _composed(words: list[str]) -> dict[str, Any] | None:
    try:
        return _run_part(run_tree(compose("train", words).tree))
    except UserError:
        return None


def _own(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    values = study.params_of(trial)
    return _run_part(run_tree(study.plan.arm(values).tree, study.plan.settings_of(values)))


def _run_part(tree: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in tree.items() if key not in ("run", "experiment")}
