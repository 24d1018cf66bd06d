"""Score the runs of a certificate as the only process that does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from search.storage.scorer import become_scorer
from search.study.heal import heal
from search.study.open import load_study
from search.study.session import Session, join
from search.study.study import Study

POLL_SECONDS = 1.0


@contextmanager
def scorer(certifying: Study, say: Callable[..., Any]) -> Iterator[Study]:
    """Wait until no other process scores the runs; yield their study, for this one to score them.

    The time inside the block counts for `search.max_hours`. If this process is stopped for so long
    that another one ends its lease, the next read or change of the study raises LeaseLost.

    Args:
        certifying: The study of the runs.
        say: Prints a line.

    """
    session = join(load_study(certifying.folder))
    study, said = session.study, False
    try:
        while (other := _other_scorer(session)) is not None:
            if not said:
                name = study.plan.name
                say(f"{other} scores the runs of study {name}; waiting for it", flush=True)
            said = True
            time.sleep(POLL_SECONDS)
        session.set_busy(True)
        yield study
    finally:
        session.set_busy(False, at_once=False)  # stored with the end of the lease
        session.leave()


def _other_scorer(session: Session) -> str | None:
    """Become the scorer of the session's study, or return the name of the worker that is."""
    study = session.study
    heal(study)  # ends the lease of a scorer that is gone
    return become_scorer(study.tables, study.id, session.name)
