"""What follows the trials of a study: the first few are confirmed, then the winner is certified."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from lightning_modules.error import UserError
from lightning_modules.rows.corpus import Corpus
from search.report.dashboard.page import about_certifying, about_confirming, show_study
from search.study import certify, confirm
from search.study.study import Study
from search.terminal.certify import started_lines as certifying_lines
from search.terminal.confirm import started_lines
from search.trained.certify import Say, certify_winner
from search.worker.event import ExitCode

log = logging.getLogger(__name__)

Work = Callable[[Study], tuple[int, str]]
"""Trains the remaining trials of a study; returns the exit code and the workers' last message."""


def confirm_and_certify(
    study: Study, work: Work, say: Say, corpus: Corpus | None = None
) -> tuple[int, str]:
    """Confirm the first few trials, then certify the winner, each if it is time.

    Args:
        study: The study.
        work: Trains the remaining trials of each study.
        say: Prints a line.
        corpus: The study's rows, if they have been read.

    Returns: The code and the last message of `work`.
    """
    code, reason = _confirm(study, work, say, corpus)
    return (code, reason) if code else _certify(study, work, say, corpus)


def _confirm(study: Study, work: Work, say: Say, corpus: Corpus | None) -> tuple[int, str]:
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


def _certify(study: Study, work: Work, say: Say, corpus: Corpus | None) -> tuple[int, str]:
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
    is_over = certifying.has_all_trials or certifying.hours_used_up
    return _draw_up(study, say, corpus) if code == 0 and is_over else (code, reason)


def _draw_up(study: Study, say: Say, corpus: Corpus | None) -> tuple[int, str]:
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
