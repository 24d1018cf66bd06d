"""Score the runs of a certificate as the only process that does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from search.storage.scorer import become_scorer
from search.study.open import load_study
from search.study.session import join
from search.study.study import Study

POLL_SECONDS = 1.0


@contextmanager
def scorer(certifying: Study, say: Callable[..., Any]) -> Iterator[Study]:
    """Wait until no other process scores the runs; yield their study, for this one to score them.

    The time inside the block counts for `search.max_hours`. If another process ends the lease of
    this one, which was stopped, whatever is done with the study raises LeaseLost.

    Args:
        certifying: The study of the runs.
        say: Prints a line.

    """
    session = join(load_study(certifying.folder))
    study, said = session.study, False
    try:
        while (other := become_scorer(study.tables, study.id, session.name)) is not None:
            if not said:
                name = study.plan.name
                say(f"{other} scores the runs of study {name}; waiting for it", flush=True)
            said = True
            time.sleep(POLL_SECONDS)
        session.set_busy(True)
        yield study
    finally:
        session.set_busy(False)
        session.leave()
