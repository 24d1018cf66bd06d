"""How the attempts at a trial ended, and what follows: another one, or the trial's end.

An interrupted attempt is nobody's fault and never counts. A broken one counts as long as the
trial gets no further: a trial that reaches a later checkpoint each time was not what broke it, and
goes on for as long as it takes. A hang costs `search.hang_seconds` of a device each time, so it
has one more try.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

MAX_HANGS = 2


class Fault(Enum):
    """What ends an attempt that did not end itself."""

    interrupted = "interrupted"  # asked to stop, at a safe point
    failed = "failed"  # its code raised an error
    killed = "killed"  # its process died
    lost = "lost"  # its worker gave no sign of life
    hung = "hung"  # no progress for search.hang_seconds
    out_of_memory = "out of memory"  # the kernel killed its process for want of memory


@dataclass(frozen=True)
class End:
    """How an attempt ended.

    Attributes:
        attempt: 1 for the first.
        fault: What ended it.
        reason: The same for people.
        step: The optimizer step of the last checkpoint then, 0 where there was none.
        worker: Who trained it.

    """

    attempt: int
    fault: Fault
    reason: str
    step: int
    worker: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for the storage."""
        return {**asdict(self), "fault": self.fault.value}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> End:
        """Return the end that `as_dict` gave."""
        return cls(**{**values, "fault": Fault(values["fault"])})


def reason_to_fail(ends: Sequence[End], max_attempts: int) -> str | None:
    """Return why there is no further attempt, or None.

    >>> end = End(1, Fault.killed, "killed by signal 9", 0, "w")
    >>> reason_to_fail([end, end], max_attempts=3)
    >>> reason_to_fail([end, end, end], max_attempts=3)
    '3 attempts got no further, the last one: killed by signal 9'
    """
    furthest, num_faults, num_hangs = 0, 0, 0
    for end in ends:
        if end.step > furthest:
            furthest, num_faults, num_hangs = end.step, 0, 0
        # A smaller micro-batch follows one that did not fit: that is no repetition.
        num_faults += end.fault not in (Fault.interrupted, Fault.out_of_memory)
        num_hangs += end.fault is Fault.hung
    if not num_faults or (num_faults < max_attempts and num_hangs < MAX_HANGS):
        return None
    attempts = "1 attempt" if num_faults == 1 else f"{num_faults} attempts"
    return f"{attempts} got no further, the last one: {ends[-1].reason}"
