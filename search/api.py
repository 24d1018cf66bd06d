"""The functions for notebooks and programs.

Each mirrors a command and takes the same overrides, in Hydra's grammar. A user's mistake raises
`UserError` with the line that the command would print.
"""

from __future__ import annotations

import re
import sys
from contextlib import nullcontext
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from lightning_modules.error import ConfigError, Problem, UserError, Verbatim
from lightning_modules.machine.path import typed_path
from lightning_modules.model.files.trust import forget_trust
from lightning_modules.outcome import Ending
from search.config import build_run, compose, literal, take_typed
from search.estimate.preview import preview
from search.estimate.probe import probe as measure
from search.machine.signals import Interrupt
from search.report import results
from search.report.snapshot import StudySummary
from search.storage.location import take_storage
from search.study.resume import compose_study
from search.sweep.sweep import run_study
from search.sweep.work import INTERRUPTED
from search.terminal.check import checked_data
from search.terminal.download import fetch_models, say_pending
from search.terminal.live import RunProgress
from search.terminal.notebook import quiet_widgets
from search.terminal.training import RunHooks
from search.trained.checked import FEATURES, study_to_check
from search.trained.find import check_no_words, find_study
from search.trained.loop import Trial
from search.trained.model import Model
from search.trained.opened import Best, Run, Study
from search.trained.runs import find_run
from search.trained.training import (
    Job,
    has_result,
    job_again,
    job_from,
    job_of,
    named_trial,
    notes_of,
    start,
)
from search.trained.training import train as train_job

if TYPE_CHECKING:
    import pandas as pd

    from lightning_modules.quality.report import Report

__all__ = [
    "Best",
    "Model",
    "Run",
    "Study",
    "Trial",
    "UserError",
    "check",
    "open",
    "plan",
    "status",
    "sweep",
    "train",
]

_OVERRIDE = re.compile(r"[+~]*[\w./\[\]]+=")


def sweep(
    study: str,
    *overrides: str,
    num_trials: int | None = None,
    max_hours: float | None = None,
    workers: int | None = None,
    config_dir: str | Path | None = None,
    show: bool = True,
    ask_tell: bool = False,
) -> Study:
    """Run a study up to its total budget, or continue it, like `finesweep sweep`.

    With `ask_tell` it returns at once: a loop of yours trains, with `study.ask` and `study.tell`.

    Args:
        study: The study's name; its files go to `studies/NAME`.
        overrides: e.g. `"data=files"`, `"data.train=my.csv"`, `"optimizer.lr=interval(1e-5,1e-3)"`.
        num_trials: Total budget, `search.num_trials`.
        max_hours: Total training hours, `search.max_hours`.
        workers: Training processes, `search.workers`; 0 trains in this process.
        config_dir: A folder with more group options.
        show: Whether to print what the command prints, with a live table if possible.
        ask_tell: Whether a loop of yours trains the trials, `search.ask_tell`. Data and model are
            yours too then, and so are the names that are searched, if `search.direction` is set.

    Raises:
        UserError: The configuration or the data cannot be used; nothing was trained.
        KeyboardInterrupt: Ctrl-C; running trials saved checkpoints, and the same call continues
            the study.
        RuntimeError: The workers failed; the message says why and where their logs are.

    """
    settings = {"num_trials": num_trials, "max_hours": max_hours, "workers": workers}
    words = _words(_named("study", study), *overrides)
    words += [f"search.{key}={value}" for key, value in settings.items() if value is not None]
    words += ["search.ask_tell=true"] if ask_tell else []
    composition = compose_study(words, _path(config_dir))
    if config_dir is not None:
        words.append(f"--config-dir={config_dir}")
    done = run_study(composition, words, show=show)
    if done.code in INTERRUPTED:
        raise KeyboardInterrupt(f"study {study} was interrupted; repeat the call to continue")
    if done.code:
        reason = f": {done.reason}" if done.reason else ""
        logs = "" if done.is_gone else f"; see {done.study.folder}/logs/"
        raise RuntimeError(f"the workers of study {study} failed{reason}{logs}")
    return Study(done.study)


def train(
    run: str | None = None,
    *overrides: str,
    study: str | None = None,
    trial: int | None = None,
    config: str | Path | None = None,
    config_dir: str | Path | None = None,
    show: bool = True,
) -> Run:
    """Train one configuration, repeat a study's trial, or continue either, like `finesweep train`.

    Args:
        run: The run's name; its files go to `runs/NAME`. None takes the next free number.
        overrides: e.g. `"strategy=full"`, `"trainer.epochs=3"`.
        study: The study whose trial is repeated, to the same scores.
        trial: The trial's number; its configuration comes from the study.
        config: A file with a whole configuration, e.g. a study's `best.yaml`; taken as it is.
        config_dir: A folder with more group options.
        show: Whether to print each validation.

    Raises:
        UserError: The configuration or the data cannot be used.
        KeyboardInterrupt: Ctrl-C; the same call continues the run.
        RuntimeError: The run diverged or did not fit into memory.

    """
    if config is not None:
        return _trained(job_from(typed_path(config), run), show)
    if study is None and trial is None:
        named = [] if run is None else [_named("run", run)]
        words = _words(*named, *overrides)
        composition = compose("train", words, _path(config_dir))
        if show:
            say_pending(composition)
        return _trained(job_of(composition), show)
    number = None if trial is None else str(trial)
    words = take_typed("open", _words(*overrides))
    return _trained(job_again(*named_trial(study, number, words), run), show)


@overload
def open(*overrides: str, study: str) -> Study: ...


@overload
def open(*overrides: str, run: str) -> Run: ...


@overload
def open(*overrides: str, model: str | Path, config_dir: str | Path | None = None) -> Model: ...


def open(
    *overrides: str,
    study: str | None = None,
    run: str | None = None,
    model: str | Path | None = None,
    config_dir: str | Path | None = None,
) -> Study | Run | Model:
    """Open a study or a run by its name, or an exported model by its folder.

    Args:
        overrides: `"search.plugins=[my_package]"`, if it uses code from there.
        study: A study's name.
        run: A run's name.
        model: An exported model's folder.
        config_dir: A folder with more group options, if the model's task is one of them.

    Raises:
        UserError: It does not exist; the message lists the ones that do.

    """
    words = take_typed("open", _words(*overrides))
    given = {"study": study, "run": run, "model": model}
    if sum(value is not None for value in given.values()) != 1:
        got = Verbatim(", ".join(name for name, value in given.items() if value) or "none")
        fix = 'Write finesweep.open(study="mine").'
        raise ConfigError(Problem("open", "must be given one of study, run and model", got, fix))
    ((kind, name),) = ((key, str(value)) for key, value in given.items() if value is not None)
    check_no_words(kind, name, words)
    if model is not None:
        return Model(typed_path(model), _path(config_dir))
    return Run(find_run(name)) if run is not None else Study(find_study(name))


def plan(
    study: str,
    *overrides: str,
    probe: bool = False,
    config_dir: str | Path | None = None,
) -> dict[str, Any]:
    """Return what `finesweep plan --json` prints: space, first trials, time; write nothing.

    Args:
        study: The study's name.
        overrides: As for `sweep`.
        probe: Whether to train a few steps in a temporary folder, to measure time and memory.
        config_dir: A folder with more group options.

    """
    words = _words(_named("study", study), *overrides)
    ahead = preview(compose_study(words, _path(config_dir)))
    return ahead.as_dict(ahead.estimate(measure(ahead.plan) if probe else ahead.past.measured))


def check(*overrides: str, config_dir: str | Path | None = None, show: bool = True) -> Report:
    """Look for faults in a data set, like `finesweep check`; train nothing.

    Args:
        overrides: e.g. `"data=files"`, `"data.train=my.csv"`, `"task=classification"`; or
            `"study=mine"` alone, for the rows of a study.
        config_dir: A folder with more group options.
        show: Whether to print the report.

    Raises:
        UserError: A setting is wrong, or the data cannot be read.

    """
    words = _words(*overrides)
    run = study_to_check(words)
    if run is None:
        composition = compose("train", [*words, FEATURES], _path(config_dir))
        if show:
            say_pending(composition)
        run = build_run(composition.tree)
    report = checked_data(run, show=show)
    if show:
        print("\n".join(report.lines()))
    return report


def status(*overrides: str) -> pd.DataFrame:
    """Return a row per study in this folder, or on the server that FINESWEEP_STORAGE names.

    A study that cannot be read has none: a line on standard error says why.

    Args:
        overrides: `"search.plugins=[my_package]"`, if a study uses code from there.

    """
    import pandas as pd

    for word in take_typed("status", _words(*overrides)):
        raise ConfigError(Problem("overrides", "status takes search.plugins alone", word))
    summaries, unread = results.summarize_all(Path())
    for line in unread:
        print(line, file=sys.stderr)
    columns = [each.name for each in fields(StudySummary)]
    return pd.DataFrame([vars(summary) for summary in summaries], columns=columns)


def _named(key: str, name: str) -> str:
    """Return the override that gives a name; refuse an override that stands in its place."""
    if not isinstance(name, str) or _OVERRIDE.match(name):
        fix = "Put the name first, then the overrides."
        raise ConfigError(Problem(key, "must be a name", name, fix))
    return f"{key}={literal(name)}"


def _words(*overrides: Any) -> list[str]:
    """Return the overrides without `storage=URL`, which sets FINESWEEP_STORAGE.

    The first one may be the name that the caller gave; no other one may name a study or a run.
    """
    for place, word in enumerate(overrides):
        if not isinstance(word, str):
            fix = 'Write each as a text of its own: sweep("mine", "data=files", "seed=1").'
            got = Verbatim(f"a {type(word).__name__}")
            raise ConfigError(Problem("overrides", 'must be texts such as "data=files"', got, fix))
        if place and word.startswith(("study=", "run=")):
            key = word.partition("=")[0]
            raise ConfigError(Problem(key, "the name is given as an argument", word, "Remove it."))
    quiet_widgets()
    forget_trust()
    return take_typed("sweep", take_storage("api", overrides))


def _trained(job: Job, show: bool) -> Run:
    rows = start(job, partial(fetch_models, show=show))
    name = job.folder.name
    with Interrupt() as interrupt, RunProgress() if show else nullcontext() as progress:
        outcome = train_job(job, rows, RunHooks(job.run, interrupt, progress, notes_of(job, rows)))
    if outcome.ending is Ending.interrupted:
        raise KeyboardInterrupt(f"{outcome.reason}; repeat the call with run {name} to continue")
    if not has_result(outcome):
        raise RuntimeError(f"run {name} {outcome.ending.value}: {outcome.reason}")
    return Run(find_run(name))


def _path(config_dir: str | Path | None) -> Path | None:
    return None if config_dir is None else typed_path(config_dir)
