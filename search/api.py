"""The functions for notebooks and programs; the commands call them too.

Each mirrors a command and takes the same overrides, in Hydra's grammar. A user's mistake raises
`UserError` with the line that the command would print.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from lightning_modules.error import ConfigError, Problem, UserError, Verbatim
from lightning_modules.machine.path import typed_path
from lightning_modules.model.files.trust import forget_trust
from lightning_modules.outcome import Ending
from lightning_modules.rows.corpus import Corpus
from search.config import Composition, build_run, compose, literal, take_typed
from search.engine.local import LocalEngine
from search.estimate.max_length import with_max_length
from search.estimate.preview import preview
from search.estimate.probe import probe as measure
from search.machine.draft import remove_left
from search.machine.signals import Interrupt
from search.plan.build import build_plan
from search.plan.length import read_rows, with_length
from search.plan.pin import models_of, with_commits
from search.plan.plan import Plan
from search.report import results
from search.report.dashboard.page import (
    ASKED,
    about_certifying,
    about_confirming,
    about_followed,
    show_study,
)
from search.report.document.write import written
from search.report.snapshot import StudySummary
from search.report.wandb import DRAFT, log_study
from search.storage.location import study_folder, take_storage
from search.study import certify, confirm
from search.study.confirm import most_runs_left
from search.study.follow import kinds
from search.study.open import load_study, read_stored, study_folders
from search.study.prepare import check_asked_study, check_study, prepare_study
from search.study.resume import compose_study
from search.study.study import Study as OpenStudy
from search.terminal.asked import next_commands
from search.terminal.certify import started_lines as certifying_lines
from search.terminal.check import checked_data, quick_lines
from search.terminal.confirm import started_lines
from search.terminal.describe import baseline, describe
from search.terminal.download import fetch_models, say_pending
from search.terminal.live import RunProgress
from search.terminal.notebook import quiet_widgets
from search.terminal.progress import quiet, shown
from search.terminal.summary import summary
from search.terminal.training import RunHooks
from search.trained.certify import certify_winner
from search.trained.checked import FEATURES, study_to_check
from search.trained.compare import certificates_of_trials
from search.trained.delete import withdraw
from search.trained.export import export_winner
from search.trained.find import check_no_words, find_study
from search.trained.loop import Trial
from search.trained.model import Model
from search.trained.opened import Best, Run, Study
from search.trained.report import write_report
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
from search.worker.event import Event, ExitCode, Note

if TYPE_CHECKING:
    import pandas as pd

    from lightning_modules.quality.report import Report
    from search.certificate.certificate import Certificate

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

log = logging.getLogger(__name__)

_OVERRIDE = re.compile(r"[+~]*[\w./\[\]]+=")

INTERRUPTED = (130, 143)
"""Exit codes of a study that was stopped by Ctrl-C, or by another signal."""


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


@dataclass(frozen=True)
class Done:
    """The result of running a study.

    Attributes:
        study: The study.
        code: The exit code of its workers.
        reason: Their last message, e.g. why they ended.
        is_gone: Whether the study was refused before any training, and is deleted.

    """

    study: OpenStudy
    code: int
    reason: str
    is_gone: bool = False


def run_study(composition: Composition, words: Sequence[str], *, show: bool = True) -> Done:
    """Run or continue the study that a configuration describes.

    Args:
        composition: The configuration.
        words: The words that it was composed from; the summary repeats them.
        show: Whether to print.

    """
    say = print if show else _nothing
    if show:
        say_pending(composition)
    composition = with_commits(composition)
    corpus = read_rows(composition)
    composition = with_max_length(with_length(composition, corpus), corpus, load=True)
    planned = build_plan(composition)
    if planned.is_asked:
        return Done(start_asked(planned, composition.fixed, say), 0, "")
    folder = study_folder(Path(), planned.name)
    is_new = read_stored(folder) is None
    rows = check_study(planned, folder, corpus)
    fetch_models(models_of(planned), show=show)
    study = prepare_study(planned, folder, rows)
    remove_left(folder, DRAFT)
    task = describe(
        planned,
        rows,
        composition.fixed,
        study.prior,
        most_runs_left(study),
        certify.runs_left(study),
    )
    task += quick_lines(rows.corpus, planned.default.task, folder)
    say("\n".join(task))
    about = about_followed(planned.name, kinds(planned))
    show_study(study.optuna, folder, task, about)
    if study.num_unqueued:
        say(
            f"note    {study.num_unqueued} of the configurations to try first have no place in the "
            f"budget of {planned.num_trials} trials; raise search.num_trials"
        )
    if study.num_ended:
        say(f"continuing: {study.num_ended} of {planned.num_trials} trials have ended")
    sys.stdout.flush()
    try:
        code, reason = _work(study, show)
    except UserError:
        if is_new:
            withdraw(study)
        raise
    if code == ExitCode.wrong_input and is_new and withdraw(study):
        return Done(study, code, reason, is_gone=True)
    if code == 0:
        code, reason = follow_up(study, partial(_work, show=show), say, rows.corpus)
    try:
        results.write_table(study)
    except OSError as error:
        print(f"{folder}/{results.TABLE_FILE} could not be written: {error}", file=sys.stderr)
    files, failure = written(partial(write_report, study))
    if failure is not None:
        print(failure, file=sys.stderr)
    splits = rows.corpus.splits
    num_rows = len(splits["train"]), len(splits["validation"])
    lines = summary(study, words, baseline(planned, rows), num_rows, rows, files)
    say("\n".join(lines), flush=True)
    for note in log_study(study, files, partial(export_winner, study)):
        say(note)
    return Done(study, code, reason)


def follow_up(
    study: OpenStudy,
    work: Callable[[OpenStudy], tuple[int, str]],
    say: Callable[..., Any],
    corpus: Corpus | None = None,
) -> tuple[int, str]:
    """Confirm the first few trials, then certify the winner, each if it is time.

    Args:
        study: The study.
        work: Trains the remaining trials of a study.
        say: Prints a line.
        corpus: The study's rows, if they have been read.

    Returns: The code and the last message of `work`.
    """
    code, reason = _confirm(study, work, say, corpus)
    return (code, reason) if code else _certify(study, work, say, corpus)


def _confirm(
    study: OpenStudy,
    work: Callable[[OpenStudy], tuple[int, str]],
    say: Callable[..., Any],
    corpus: Corpus | None,
) -> tuple[int, str]:
    confirming = confirm.begin(study, corpus)
    if confirming is None:
        return 0, ""
    done = 0, ""
    if confirming.num_ended < confirming.plan.num_trials:
        lines = list(started_lines(study, confirming))
        show_study(confirming.optuna, confirming.folder, lines, about_confirming(study.plan.name))
        say("\n".join(lines), flush=True)
        done = work(confirming)
    confirm.store_results(study, confirming)
    return done


def _certify(
    study: OpenStudy,
    work: Callable[[OpenStudy], tuple[int, str]],
    say: Callable[..., Any],
    corpus: Corpus | None,
) -> tuple[int, str]:
    certifying = certify.begin(study, corpus)
    if certifying is None:
        return 0, ""
    code, reason = 0, ""
    if certifying.num_ended < certifying.plan.num_trials:
        lines = list(certifying_lines(study, certifying))
        show_study(certifying.optuna, certifying.folder, lines, about_certifying(study.plan.name))
        say("\n".join(lines), flush=True)
        code, reason = work(certifying)
    # More may have ended than this process knows of: another one may have added to the queue.
    is_over = certifying.num_ended >= certifying.plan.num_trials or certifying.hours_used_up
    return _draw_up(study, say, corpus) if code == 0 and is_over else (code, reason)


def _draw_up(study: OpenStudy, say: Callable[..., Any], corpus: Corpus | None) -> tuple[int, str]:
    """Draw up the winner's certificate; a study must not lose its summary if that fails."""
    try:
        certify_winner(study, say, corpus)
    except UserError:
        raise
    except Exception as error:  # e.g. the memory that scoring needs is taken
        log.exception("the certificate could not be drawn up")
        reason = " ".join(str(error).split()) or type(error).__name__
        fix = f"finesweep certify study={study.plan.name} tries again"
        line = f"the certificate could not be drawn up: {reason}; {fix}"
        print(line, file=sys.stderr)
        return ExitCode.failed, line
    return 0, ""


def certify_trials(
    study: OpenStudy,
    trials: Sequence[int] = (),
    seeds: int | None = None,
    against: OpenStudy | None = None,
    *,
    show: bool = True,
) -> list[Certificate]:
    """Certify trials of a study against its default, or against the winner of another study.

    Args:
        study: The study.
        trials: Their numbers; none for the winner.
        seeds: Runs of each; None takes `search.certify_seeds`.
        against: The other study.
        show: Whether to print.

    """
    say = print if show else _nothing

    def train_waiting(certifying: OpenStudy) -> None:
        code, reason = 0, ""
        if certifying.num_ended < certifying.plan.num_trials:
            fetch_models(models_of(certifying.plan), show=show)
            num_runs = certifying.plan.num_trials - certifying.num_ended
            say(f"training {num_runs} runs, as study {certifying.plan.name}", flush=True)
            code, reason = _work(certifying, show)
        if code in INTERRUPTED:
            raise KeyboardInterrupt("repeat the command to continue")
        if code:
            raise RuntimeError(f"the workers failed: {reason}; see {certifying.folder}/logs/")

    certificates = certificates_of_trials(study, trials, seeds, against, train_waiting, say)
    _, failure = written(partial(write_report, study))
    if failure is not None:
        print(failure, file=sys.stderr)
    return certificates


def start_asked(plan: Plan, fixed: Sequence[str], say: Callable[..., Any]) -> OpenStudy:
    """Start or continue a study whose trials a loop of the caller's own trains."""
    folder = study_folder(Path(), plan.name)
    check_asked_study(plan, folder)
    study = prepare_study(plan, folder, None)
    task = describe(plan, None, fixed, study.prior)
    show_study(study.optuna, folder, task, ASKED)
    results.write_table(study)
    say("\n".join([*task, *next_commands(study)]), flush=True)
    return study


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

    Args:
        overrides: `"search.plugins=[my_package]"`, if a study uses code from there.

    """
    import pandas as pd

    for word in take_typed("status", _words(*overrides)):
        raise ConfigError(Problem("overrides", "status takes search.plugins alone", word))
    studies = [load_study(folder) for folder in study_folders(Path())]
    columns = [each.name for each in fields(StudySummary)]
    return pd.DataFrame([vars(results.summarize(study)) for study in studies], columns=columns)


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


def _work(study: OpenStudy, show: bool) -> tuple[int, str]:
    """Train the remaining trials; return the exit code and the workers' last message."""
    study.plan.default.logger.forget_failure(study.folder)
    num_left = results.status(study)["remaining"]
    if num_left == 0 or study.out_of_time is not None:
        return 0, ""
    notes = [""]
    with shown(study) if show else quiet(study) as on_event:

        def keep(event: Event) -> None:
            if isinstance(event, Note):
                notes.append(event.text)
            on_event(event)

        return _train_here_or_apart(study, num_left, keep), notes[-1]


def _train_here_or_apart(study: OpenStudy, num_left: int, on_event: Callable[[Event], None]) -> int:
    num_workers = study.plan.search.settings.workers
    if num_workers == 0:
        from search.worker.worker import work_here

        return work_here(study.folder, on_event)
    return LocalEngine(study, min(num_workers, num_left), on_event).run()


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


def _nothing(*_: Any, **__: Any) -> None:
    pass
