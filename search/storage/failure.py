"""How the attempts at a trial ended, and whether to retry or to fail the trial.

An interrupted attempt never counts. A failed one counts only until the trial makes progress: if
each attempt reaches a later checkpoint, the trial is not the cause and is retried
without limit. An attempt that was killed from outside, or lost with its machine, is rarely the
trial's fault, so many of them are allowed. A hang costs `search.hang_seconds` of a device each
time, so it is retried only once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

MAX_HANGS = 2
MAX_KILLS = 20


class FailureKind(Enum):
    """Why an attempt ended before its training did."""

    interrupted = "interrupted"  # asked to stop, at a safe point
    failed = "failed"  # its code raised an error
    crashed = "crashed"  # its process ended by itself, e.g. by a segmentation fault
    killed = "killed"  # its process was killed from outside
    lost = "lost"  # its worker sent no more heartbeats
    hung = "hung"  # no progress for search.hang_seconds
    out_of_memory = "out of memory"  # the kernel killed its process to free memory
    crowded = "out of memory beside others"  # it has not been tried alone yet
    packed = "together with others"  # their process crashed or hung; it trains alone next


@dataclass(frozen=True)
class FailedAttempt:
    """How an attempt ended.

    Attributes:
        attempt: 1 for the first.
        kind: Why it ended.
        reason: The same as a message.
        step: The optimizer step of its last checkpoint, 0 if there was none.
        worker: The worker that trained it.

    """

    attempt: int
    kind: FailureKind
    reason: str
    step: int
    worker: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for the storage."""
        return {
            "attempt": self.attempt,
            "fault": self.kind.value,
            "reason": self.reason,
            "step": self.step,
            "worker": self.worker,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FailedAttempt:
        """Return the failed attempt from the values of `as_dict`."""
        kept = dict(values)
        return cls(kind=FailureKind(kept.pop("fault")), **kept)


def reason_to_fail(ends: Sequence[FailedAttempt], max_attempts: int) -> str | None:
    """Return why there is no further attempt, or None.

    >>> end = FailedAttempt(1, FailureKind.failed, "ValueError: no", 0, "w")
    >>> reason_to_fail([end, end], max_attempts=3)
    >>> reason_to_fail([end, end, end], max_attempts=3)
    '3 attempts made no progress; the last: ValueError: no'
    """
    furthest, counts = 0, Counter[FailureKind]()
    for end in ends:
        if end.step > furthest:
            furthest = end.step
            counts.clear()
        counts[end.kind] += 1
    # The retry uses a smaller micro-batch, so out of memory is not a repeated failure.
    num_faults = counts[FailureKind.failed] + counts[FailureKind.crashed] + counts[FailureKind.hung]
    num_kills = counts[FailureKind.killed] + counts[FailureKind.lost]
    if num_faults < max_attempts and num_kills < MAX_KILLS and counts[FailureKind.hung] < MAX_HANGS:
        return None
    num = num_faults + num_kills
    attempts = "1 attempt" if num == 1 else f"{num} attempts"
    return f"{attempts} made no progress; the last: {ends[-1].reason}"
