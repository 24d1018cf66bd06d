"""Return the trials of workers that are gone to the queue. Any process may do it, at any time."""

from __future__ import annotations

from search.storage import attempt_end
from search.storage.attempt_end import AttemptEnd
from search.storage.attribute import WORKER
from search.storage.failure import FailureKind
from search.storage.lease import gone_workers, present_workers
from search.study.study import Study


def heal(study: Study) -> list[AttemptEnd]:
    """Return the trials of lost workers to the queue; return how their attempts ended."""
    engine, ends = study.tables.engine, list[AttemptEnd]()

    def look() -> list[tuple[str, str, float]]:
        with engine.begin() as connection:
            return list(gone_workers(connection, study.id))

    for worker, reason, renewed in study.tables.retry(look):
        ends += end_worker(study, worker, FailureKind.lost, reason, renewed)
    return ends + _give_back_orphans(study)


def end_worker(
    study: Study, worker: str, kind: FailureKind, reason: str, renewed: float | None = None
) -> list[AttemptEnd]:
    """End the lease and the attempts of another worker that is gone.

    Args:
        study: The study.
        worker: The worker's name.
        kind: Why it ended.
        reason: The same as a message.
        renewed: End it only if this is still the time of the last renewal.

    Returns: How its attempts ended; empty if another process did it.
    """
    tables, max_attempts = study.tables, study.plan.search.settings.max_attempts
    return list(attempt_end.end_worker(tables, worker, kind, reason, max_attempts, renewed))


def _give_back_orphans(study: Study) -> list[AttemptEnd]:
    """Return running trials to the queue if their worker has left or they have none."""
    running = [trial for trial in study.trials if trial.state.name == "RUNNING"]
    if not running:
        return []
    tables, max_attempts = study.tables, study.plan.search.settings.max_attempts

    def look() -> frozenset[str]:
        with tables.engine.begin() as connection:
            return present_workers(connection, study.id)

    present = tables.retry(look)
    ends, reason = [], "its worker has left"
    for trial in running:
        worker = trial.user_attrs.get(WORKER)
        if worker not in present:
            ends.append(
                attempt_end.hand_back(
                    tables, trial._trial_id, worker, FailureKind.lost, reason, max_attempts
                )
            )
    return [end for end in ends if end is not None]
