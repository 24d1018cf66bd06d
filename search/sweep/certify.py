"""Certify trials of a study that has ended, on demand."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from search.plan.pin import models_of
from search.report.document.write import written
from search.study.study import Study
from search.sweep.work import INTERRUPTED, train_remaining
from search.terminal.download import fetch_models
from search.terminal.progress import printing
from search.trained.compare import certificates_of_trials
from search.trained.report import write_report

if TYPE_CHECKING:
    from search.certificate.certificate import Certificate


def certify_trials(
    study: Study,
    trials: Sequence[int] = (),
    seeds: int | None = None,
    against: Study | None = None,
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
    say = printing(show=show)

    def train_waiting(certifying: Study) -> None:
        code, reason = 0, ""
        if certifying.num_ended < certifying.plan.num_trials:
            fetch_models(models_of(certifying.plan), show=show)
            num_runs = certifying.plan.num_trials - certifying.num_ended
            say(f"training {num_runs} runs, as study {certifying.plan.name}", flush=True)
            code, reason = train_remaining(certifying, show=show)
        if code in INTERRUPTED:
            raise KeyboardInterrupt("repeat the command to continue")
        if code:
            raise RuntimeError(f"the workers failed: {reason}; see {certifying.folder}/logs/")

    certificates = certificates_of_trials(study, trials, seeds, against, train_waiting, say)
    _, failure = written(partial(write_report, study))
    if failure is not None:
        print(failure, file=sys.stderr)
    return certificates
