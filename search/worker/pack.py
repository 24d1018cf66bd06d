"""Several trainings at once, whose passes through one frozen network are one pass.

Each is a `fit` of its own, with its folder, log, checkpoint and outcome; only its passes meet those
of the others, see `lightning_modules.distributed.pack.meeting`. When a run ends, the next one takes
its slot, if there is one. A checkpoint is that of a run alone, so it resumes alone or in any pack.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_modules.cache import Cache
from lightning_modules.check import CheckedRows
from lightning_modules.distributed.pack.meeting import Meeting, Slot
from lightning_modules.distributed.pack.probe import Probe
from lightning_modules.fit import fit
from lightning_modules.guard.base import Guard
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity, Logs
from lightning_modules.outcome import Outcome
from lightning_modules.run import Run


@dataclass(frozen=True)
class Member:
    """One run of a pack: the arguments of its `fit`, and what becomes of its result.

    `ended` receives the outcome, or what `fit` raised, while the others still train. It must not
    raise.
    """

    run: Run
    folder: Path
    identity: Identity
    hooks: Hooks
    ended: Callable[[Outcome | BaseException], None]
    checked: CheckedRows | None = None
    guards: Sequence[Guard] = ()


@dataclass(frozen=True)
class Sharing:
    """What became of a pack.

    Attributes:
        refusal: Why its runs trained one by one, from some pass on; None if they did not.
        gain: How many times as fast shared passes are; None if it was not measured.

    """

    refusal: str | None
    gain: float | None


def fit_pack(
    members: Sequence[Member],
    cache: Cache,
    logs: Logs | None = None,
    say: Callable[[str], None] = lambda text: None,
    next_member: Callable[[], Member | None] = lambda: None,
    *,
    must_pay: bool = True,
) -> Sharing:
    """Train runs together.

    Args:
        members: The runs, which have the same `lightning_modules.run.pack_key`.
        cache: Objects kept in memory between runs, which they share.
        logs: Where their logs are opened.
        say: Receives whether they train together, and why not.
        next_member: Returns the run that takes the slot of one that has ended; None if there is
            none. It must not raise. It is not asked if runs do not share passes, or if one is left.
        must_pay: Whether they train one after the other if their first steps show that this is
            faster.

    """
    probe = Probe(must_pay=must_pay)
    meeting = Meeting(len(members), probe, say)

    def train(member: Member, slot: Slot) -> None:
        try:
            result: Outcome | BaseException = fit(
                member.run,
                member.folder,
                member.identity,
                member.hooks,
                cache,
                checked=member.checked,
                guards=member.guards,
                logs=logs,
                passes=slot,
            )
        except BaseException as error:
            result = error  # the caller decides
        member.ended(result)

    def train_all(first: Member, slot: Slot) -> None:
        with slot.working():
            member: Member | None = first
            while member is not None:
                train(member, slot)
                slot.renew()
                member = None if meeting.is_over else next_member()

    threads = [
        threading.Thread(target=train_all, args=(member, slot), name=f"slot {number}")
        for number, (member, slot) in enumerate(zip(members, meeting.slots, strict=True))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Sharing(meeting.refusal, probe.gain)
