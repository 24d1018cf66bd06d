"""Several trainings at once, whose passes through one frozen network are one pass; or a single one.

Each is a `fit` of its own, with its folder, log, checkpoint and outcome; only its passes meet those
of the others, see `lightning_modules.fit.pack.meeting`. When a run ends, the next one takes
its slot, if there is one. A checkpoint is that of a run alone, so it resumes alone or in any pack.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lightning_modules.batch.passes import Alone
from lightning_modules.cache import Cache
from lightning_modules.check import CheckedRows
from lightning_modules.fit import fit
from lightning_modules.fit.pack.meeting import Meeting, Slot
from lightning_modules.fit.pack.probe import Probe
from lightning_modules.guard.base import Guard
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity, Logs
from lightning_modules.outcome import Outcome
from lightning_modules.run import Run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Member:
    """One run of a pack: the arguments of its `fit`, and what becomes of its result.

    `ended` receives the outcome, or what `fit` raised, while the others still train. What it raises
    is raised when they have ended.
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
    """Train runs together, or a single one alone, in this thread.

    Args:
        members: One run of any kind, or several of one `lightning_modules.run.pack_key`.
        cache: Objects kept in memory between runs, which they share.
        logs: Where their logs are opened.
        say: Receives whether they train together, and why not.
        next_member: Returns the run that takes the slot of one that has ended; None if there is
            none. It is not asked if runs do not share passes, or if one is left.
        must_pay: Whether they train one after the other if their first steps show that this is
            faster.

    Raises:
        BaseException: What `ended` or `next_member` raised first, after all runs have ended; no
            run takes a slot any more. What they raised besides is logged.

    """
    if len(members) == 1:
        _train(members[0], cache, logs, Alone())
        return Sharing(None, None)
    probe = Probe(must_pay=must_pay)
    meeting = Meeting(len(members), probe, say)
    raised: list[BaseException] = []

    def take_part(slot: Slot, work: Callable[[], None]) -> None:
        try:
            with slot.working():
                work()
        except BaseException as error:  # nobody would see it in this thread
            raised.append(error)

    def train_all(first: Member, slot: Slot) -> None:
        member: Member | None = first
        while member is not None:
            _train(member, cache, logs, slot)
            slot.renew()
            member = None if meeting.is_over or raised else next_member()

    threads = []
    for number, (member, slot) in enumerate(zip(members, meeting.slots, strict=True)):
        work = partial(train_all, member, slot)
        thread = threading.Thread(target=take_part, args=(slot, work), name=f"slot {number}")
        try:
            thread.start()
        except RuntimeError as error:  # e.g. the system allows no more threads; others wait for it
            take_part(slot, partial(member.ended, error))
        else:
            threads.append(thread)
    for thread in threads:
        thread.join()
    for other in raised[1:]:
        log.error("another run of a pack raised", exc_info=other)
    if raised:
        raise raised[0]
    return Sharing(meeting.refusal, probe.gain)


def _train(member: Member, cache: Cache, logs: Logs | None, passes: Alone) -> None:
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
            passes=passes,
        )
    except BaseException as error:
        result = error  # the caller decides
    member.ended(result)
