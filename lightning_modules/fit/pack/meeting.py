"""Where the passes of several runs meet: each run is a thread, of which one works at a time.

A run that brings a pass waits until every other one has brought its own, or has ended. Then the
passes go through the packed network as one, and each run continues with its own step, in the order
of their numbers. So what a run does between its passes is what it does alone, and a pack is as
deterministic as a run.

When a run has ended, another one may take its slot.

If the networks cannot share passes, if memory runs out, if a shared pass fails, or if sharing does
not pay, the meeting is over: from there on each pass goes through its run's own network, and the
runs train one after the other.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from lightning_modules.batch.passes import Alone, Pass
from lightning_modules.fit.pack.draws import Draws
from lightning_modules.fit.pack.layout import CannotShare
from lightning_modules.fit.pack.network import PackedNetwork
from lightning_modules.machine.memory import free_memory, is_out_of_memory

if TYPE_CHECKING:
    import torch

    from lightning_modules.batch.micro import Limit
    from lightning_modules.fit.pack.probe import Probe

log = logging.getLogger(__name__)


class Meeting:
    """A pack of runs.

    Attributes:
        slots: The place of each run.
        refusal: Why the runs do not share passes; None while they do.

    """

    def __init__(self, num_runs: int, probe: Probe, say: Callable[[str], None]) -> None:
        self.slots = [Slot(self) for _ in range(num_runs)]
        self._probe = probe
        self._say = say
        self._living = list(self.slots)
        self._turn = self.slots[0]
        self._changed = threading.Condition()
        self._packed: PackedNetwork | None = None
        self.refusal: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether each run passes alone from here on."""
        return self.refusal is not None or len(self._living) == 1

    @property
    def num_living(self) -> int:
        """How many runs have not ended."""
        return len(self._living)

    def await_turn(self, slot: Slot) -> None:
        """Return when it is the slot's turn."""
        with self._changed:
            self._changed.wait_for(lambda: self._turn is slot)
        slot.resume()

    def meet(self, slot: Slot) -> Tensor | None:
        """Wait for the slot's pass; return its loss, or None if the meeting is over."""
        slot.pause()
        self._give_turn(self._living.index(slot) + 1)
        self.await_turn(slot)
        if not slot.is_ready:  # so all wait, and this is the first one
            self._pass_together()
        return slot.loss

    def renew(self) -> None:
        """Take the networks of the next passes: one of the runs is another one."""
        self._packed = None

    def leave(self, slot: Slot) -> None:
        """End the slot's part, and its turn."""
        at = self._living.index(slot)
        del self._living[at]
        self.renew()
        if self._living:
            self._give_turn(at)

    def _give_turn(self, start: int) -> None:
        """Give the turn to the next run, from `start` on, that need not wait; else to the first."""
        order = [*self._living[start:], *self._living[:start]]
        with self._changed:
            self._turn = next((each for each in order if each.is_ready), self._living[0])
            self._changed.notify_all()

    def _pass_together(self) -> None:
        slots = self._living
        slots[0].pause()
        draws = [slot.draws for slot in slots]
        states = [each.state for each in draws]
        began, reason = time.monotonic(), None
        try:
            losses = self._losses([slot.brought for slot in slots], draws)
        except Exception as error:  # each pass alone then raises it in the run whose it is
            reason = _reason(error, len(slots))
        else:
            for slot, loss in zip(slots, losses, strict=True):
                slot.loss = loss
            reason = self._probe.refusal
        for slot in slots:
            slot.add_seconds((time.monotonic() - began) / len(slots))
        slots[0].resume()
        if reason is not None:
            self._end(reason)
        for slot, state in zip(slots, states, strict=True):
            if slot.loss is None:
                slot.draws.state = state

    def _losses(self, passes: list[Pass], draws: list[Draws]) -> list[Tensor]:
        if self._packed is None:
            self._packed = PackedNetwork([each.network for each in passes])
        if self._probe.is_done:
            return self._packed.run(passes, draws)
        losses = self._probe.run(self._packed, passes, draws)
        if self._probe.gain is not None and self._probe.refusal is None:
            self._say(
                f"{len(passes)} trials share their passes: {self._probe.gain:.2f} times as fast "
                "as one by one"
            )
        return losses

    def _end(self, reason: str) -> None:
        self.refusal, self._packed = reason, None
        self._say(f"{len(self._living)} trials train one by one: {reason}")
        free_memory()


class Slot(Alone):
    """The place of one run in a pack."""

    def __init__(self, meeting: Meeting) -> None:
        self.draws = Draws()
        self.loss: Tensor | None = None
        """Of the pass that it brought, once this is done."""
        self._meeting = meeting
        self._brought: Pass | None = None
        self._seconds = 0.0
        self._resumed: float | None = None

    @property
    def brought(self) -> Pass:
        """The pass that it waits for."""
        assert self._brought is not None
        return self._brought

    @property
    def is_ready(self) -> bool:
        """Whether its run can continue."""
        return self._brought is None or self.loss is not None or self._meeting.is_over

    @contextmanager
    def working(self) -> Iterator[None]:
        """Take part in the meeting inside the block, by the thread that enters it."""
        self._meeting.await_turn(self)
        try:
            yield
        finally:
            self._meeting.leave(self)

    def renew(self) -> None:
        """Forget the run that has ended: the next passes are those of another one."""
        self._brought = self.loss = None
        self._meeting.renew()

    def resume(self) -> None:
        """Count the time from here on as the run's."""
        self._resumed = time.monotonic()

    def pause(self) -> None:
        """Count it no longer."""
        self._seconds, self._resumed = self.now(), None

    def add_seconds(self, seconds: float) -> None:
        """Count these, too: the run's part of a shared pass."""
        self._seconds += seconds

    def now(self) -> float:
        """Return the seconds that the run took, with its part of the shared passes."""
        since = 0.0 if self._resumed is None else time.monotonic() - self._resumed
        return self._seconds + since

    def seed(self, device: torch.device, seed: int) -> None:
        self.draws.seed(device, seed)

    def share(self, limit: Limit) -> Limit:
        if self._meeting.is_over or limit.tokens is None:
            return limit
        return replace(limit, tokens=limit.tokens // self._meeting.num_living)

    def run(self, each: Pass) -> Tensor:
        if not self._meeting.is_over:
            self._brought, self.loss = each, None
            loss = self._meeting.meet(self)
            self._brought = None
            if loss is not None:
                return loss
        with self.draws.drawing():
            return super().run(each)


def _reason(error: Exception, num_runs: int) -> str:
    """Return in one line why runs do not share a pass; log what is no limit but a fault."""
    if isinstance(error, CannotShare):
        return str(error)
    if is_out_of_memory(error):
        return f"the passes of {num_runs} at once do not fit into memory"
    log.error("a shared pass of %d trials failed", num_runs, exc_info=error)
    return f"{type(error).__name__}: {error}".splitlines()[0]
