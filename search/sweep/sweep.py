"""A whole sweep: check, train, confirm and certify, write the results, print the summary."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lightning_modules.check import CheckedRows
from lightning_modules.error import UserError
from search.config import Composition
from search.estimate.max_length import with_max_length
from search.machine.draft import remove_left
from search.plan.build import build_plan
from search.plan.length import read_rows, with_length
from search.plan.pin import models_of, with_commits
from search.plan.plan import Plan
from search.report import results
from search.report.dashboard.page import ASKED, about_followed, show_study
from search.report.document.write import written
from search.report.wandb import DRAFT, log_study
from search.storage.location import study_folder
from search.study import certify
from search.study.confirm import most_runs_left
from search.study.follow import kinds
from search.study.open import read_stored
from search.study.prepare import check_asked_study, check_study, prepare_study
from search.study.study import Study
from search.sweep.follow_up import confirm_and_certify
from search.sweep.work import train_remaining
from search.terminal.asked import next_commands
from search.terminal.check import quick_lines
from search.terminal.describe import baseline, describe
from search.terminal.download import fetch_models, say_pending
from search.terminal.progress import printing
from search.terminal.summary import summary
from search.trained.certify import Say
from search.trained.delete import withdraw
from search.trained.export import export_winner
from search.trained.report import write_report
from search.worker.event import ExitCode


@dataclass(frozen=True)
class Done:
    """The result of running a study.

    Attributes:
        study: The study.
        code: The exit code of its workers.
        reason: Their last message, e.g. why they ended.
        is_gone: Whether the study was refused before any training, and is deleted.

    """

    study: Study
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
    say = printing(show=show)
    if show:
        say_pending(composition)
    composition = with_commits(composition)
    corpus = read_rows(composition)
    composition = with_max_length(with_length(composition, corpus), corpus, load=True)
    planned = build_plan(composition)
    if planned.is_asked:
        return Done(_start_asked(planned, composition.fixed, say), 0, "")
    folder = study_folder(Path(), planned.name)
    is_new = read_stored(folder) is None
    rows = check_study(planned, folder, corpus)
    fetch_models(models_of(planned), show=show)
    study = prepare_study(planned, folder, rows)
    remove_left(folder, DRAFT)
    _announce(study, composition, rows, say)
    try:
        code, reason = train_remaining(study, show=show)
    except UserError:
        if is_new:
            withdraw(study)
        raise
    if code == ExitCode.wrong_input and is_new and withdraw(study):
        return Done(study, code, reason, is_gone=True)
    if code == 0:
        work = partial(train_remaining, show=show)
        code, reason = confirm_and_certify(study, work, say, rows.corpus)
    _write_results(study, words, rows, say)
    return Done(study, code, reason)


def _announce(study: Study, composition: Composition, rows: CheckedRows, say: Say) -> None:
    """Say what will be trained, and show it in the dashboard."""
    planned, folder = study.plan, study.folder
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


def _write_results(study: Study, words: Sequence[str], rows: CheckedRows, say: Say) -> None:
    """Write the table and the report, print the summary, and log the study."""
    try:
        results.write_table(study)
    except OSError as error:
        print(f"{study.folder}/{results.TABLE_FILE} could not be written: {error}", file=sys.stderr)
    files, failure = written(partial(write_report, study))
    if failure is not None:
        print(failure, file=sys.stderr)
    splits = rows.corpus.splits
    num_rows = len(splits["train"]), len(splits["validation"])
    lines = summary(study, words, baseline(study.plan, rows), num_rows, rows, files)
    say("\n".join(lines), flush=True)
    for note in log_study(study, files, partial(export_winner, study)):
        say(note)


def _start_asked(plan: Plan, fixed: Sequence[str], say: Say) -> Study:
    """Start or continue a study whose trials a loop of the caller's own trains."""
    folder = study_folder(Path(), plan.name)
    check_asked_study(plan, folder)
    study = prepare_study(plan, folder, None)
    task = describe(plan, None, fixed, study.prior)
    show_study(study.optuna, folder, task, ASKED)
    results.write_table(study)
    say("\n".join([*task, *next_commands(study)]), flush=True)
    return study
