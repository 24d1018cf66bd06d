"""How the attempts at a trial ended, and what follows: another one, or the trial's end.

An interrupted attempt is nobody's fault and never counts. A broken one counts as long as the
trial gets no further: a trial that reaches a later checkpoint each time was not what broke it, and
goes on for as long as it takes. What was killed from outside, or vanished with its machine, is
hardly ever the trial's fault, so that has to happen many times. A hang costs
`search.hang_seconds` of a device each time, so it has one more try.
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
    """What ends an attempt that did not end itself."""

    interrupted = "interrupted"  # asked to stop, at a safe point
    failed = "failed"  # its code raised an error
    crashed = "crashed"  # its process ended by itself, as by a segmentation fault
    killed = "killed"  # someone else ended its process
    lost = "lost"  # its worker gave no sign of life any more
    hung = "hung"  # no progress for search.hang_seconds
    out_of_memory = "out of memory"  # the kernel killed its process for want of memory


@dataclass(frozen=True)
class FailedAttempt:
    """How an attempt ended.

    Attributes:
        attempt: 1 for the first.
        kind: What ended it.
        reason: The same for people.
        step: The optimizer step of the last checkpoint then, 0 where there was none.
        worker: Who trained it.

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
        """Return what `as_dict` gave."""
        kept = dict(values)
        return cls(kind=FailureKind(kept.pop("fault")), **kept)


def reason_to_fail(ends: Sequence[FailedAttempt], max_attempts: int) -> str | None:
    """Return why there is no further attempt, or None.

    >>> end = FailedAttempt(1, FailureKind.failed, "ValueError: no", 0, "w")
    >>> reason_to_fail([end, end], max_attempts=3)
    >>> reason_to_fail([end, end, end], max_attempts=3)
    '3 attempts got no further, the last one: ValueError: no'
    """
    furthest, counts = 0, Counter[FailureKind]()
    for end in ends:
        if end.step > furthest:
            furthest = end.step
            counts.clear()
        counts[end.kind] += 1
    # A smaller micro-batch follows one that did not fit: that is no repetition.
    num_faults = counts[FailureKind.failed] + counts[FailureKind.crashed] + counts[FailureKind.hung]
    num_kills = counts[FailureKind.killed] + counts[FailureKind.lost]
    if num_faults < max_attempts and num_kills < MAX_KILLS and counts[FailureKind.hung] < MAX_HANGS:
        return None
    num = num_faults + num_kills
    attempts = "1 attempt" if num == 1 else f"{num} attempts"
    return f"{attempts} made no progress; the last: {ends[-1].reason}"
