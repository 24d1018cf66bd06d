"""Watch the workers of a study: replace those that end too early, and forward their events.

A worker that crashed, was killed, ran out of memory or leaked is replaced; one without progress for
`search.hang_seconds` is first killed with all its children. Its trial returns to the queue with the
reason, and the next worker resumes from the checkpoint.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TextIO

from lightning_modules.error import ConfigError
from search.engine.start import START_SECONDS, Starter
from search.machine.process import kill_tree, num_memory_kills
from search.machine.signals import SIGNALS, exit_code, restore_handlers
from search.storage.failure import FailureKind
from search.storage.retry import StorageGone
from search.study.heal import end_worker
from search.study.study import Study
from search.worker.breaker import Breaker
from search.worker.event import (
    Alive,
    Began,
    Ended,
    Event,
    ExitCode,
    Joined,
    Note,
    event_of,
    from_line,
)
from search.worker.forkserver import Child, adopting, reap_group

# Any other signal, e.g. from a segmentation fault, is caused by the process itself.
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, *SIGNALS)
POLL_SECONDS = 0.5
IN_ORDER = (ExitCode.finished, ExitCode.wrong_input, ExitCode.replace)
STILL_SECONDS = 5.0  # between checks by the engine: its own process was stopped
CARD_SECONDS = 10.0  # until the cards of a worker that has just died are free
MAX_BAD_STARTS = 3  # in a row for one worker: the trials are not the cause
MAX_KILLED_STARTS = 20  # the same if they were killed from outside


@dataclass
class _Slot:
    """The place of one worker.

    Attributes:
        number: Starts at 0.
        process: The current worker.
        lifeline: A pipe to it; it stops when the pipe closes, also if this process dies.
        worker: Its name in the study; None until it has joined.
        trials: The trials that it trains.
        doing: Its last reported activity.
        last_sign: The time of its last event, by the monotonic clock.
        num_bad_starts: Workers in a row that ended before they started a trial.
        num_memory_kills: Processes that the kernel had killed for memory at its last event.
        was_asked: Whether it was asked to stop.
        code: Its exit code if it will not be replaced, else None.

    """

    number: int
    process: subprocess.Popen[bytes] | Child
    lifeline: int
    num_memory_kills: int
    worker: str | None = None
    trials: set[int] = field(default_factory=set)
    doing: str = "starting"
    last_sign: float = field(default_factory=time.monotonic)
    num_bad_starts: int = 0
    is_hung: bool = False
    was_asked: bool = False
    code: int | None = None


class LocalEngine:
    """The worker processes of one study on this host; `name` is the prefix of their logs."""

    def __init__(
        self,
        study: Study,
        num_workers: int,
        on_event: Callable[[Event], None],
        name: str = "worker",
    ) -> None:
        self._study = study
        self._num_workers = num_workers
        self._starter = Starter(study, num_workers, name, self._note, lambda: self._is_stopping)
        self._on_event = on_event
        self._slots: list[_Slot] = []
        self._events: queue.SimpleQueue[tuple[int, Event | None]] = queue.SimpleQueue()
        self._received: list[int] = []
        self._breaker = Breaker()
        self._has_given_up = False
        self._is_wrong_input = False
        self._is_away = False  # the storage did not answer during a stop
        self._looked = time.monotonic()
        self._groups: set[int] = set()  # of workers that ended; children may remain

    def run(self) -> int:
        """Run until every worker has ended; return 0, 1 (failure), 2 (input), 130 or 143."""
        with self._signals(), adopting() as is_adopting:
            self._starter.forks = is_adopting and not self._starter.has_gpus
            try:
                self._watch()
            finally:
                self._starter.close()
                for slot in self._slots:
                    if slot.code is None:  # an error ended the watch: let the worker stop in order
                        os.close(slot.lifeline)
        if self._received:
            return exit_code(self._received[0])
        if self._is_wrong_input:
            return ExitCode.wrong_input.value
        return int(any(slot.code for slot in self._slots) or self._has_given_up)

    def _watch(self) -> None:
        for number in range(self._num_workers):
            slot = self._start(number)
            if slot is None:
                break
            self._slots.append(slot)
        if not self._slots:
            raise ConfigError(self._starter.no_card())
        while any(slot.code is None for slot in self._slots):
            self._receive()
            self._clear_up()
            if self._is_stopping:
                self._ask_to_stop()

    @property
    def _is_stopping(self) -> bool:
        return bool(self._received) or self._has_given_up or self._is_wrong_input

    def _ask_to_stop(self) -> None:
        """Ask every worker to stop, once."""
        for slot in self._slots:
            if slot.code is None and not slot.was_asked and slot.process.poll() is None:
                slot.was_asked = True
                slot.process.send_signal(signal.SIGTERM)

    def _receive(self) -> None:
        """Handle one event, or time out without one."""
        try:
            number, event = self._events.get(timeout=POLL_SECONDS)
        except queue.Empty:
            return
        slot = self._slots[number]
        if event is None:
            self._replace(slot)
            return
        slot.last_sign, slot.num_memory_kills = time.monotonic(), num_memory_kills()
        if isinstance(event, Joined):
            slot.worker = event.worker
            return
        if isinstance(event, Alive):
            slot.doing = event.doing
            return
        if isinstance(event, Began):
            slot.trials.add(event.number)
            slot.num_bad_starts = 0
        elif isinstance(event, Ended):
            slot.trials.discard(event.number)
        self._report(event)

    def _note(self, text: str) -> None:
        self._on_event(Note(text))

    def _report(self, event: Event) -> None:
        self._on_event(event)
        reason = self._breaker.reason_to_stop(event)
        if reason is not None:
            self._has_given_up = True
            self._note(reason)

    def _replace(self, slot: _Slot) -> None:
        """Find out how a worker ended, return its trial, and start another in its place."""
        code = slot.process.wait()
        os.close(slot.lifeline)
        kill_tree(slot.process.pid)  # its data workers and loggers
        self._groups.add(slot.process.pid)
        kind, reason = self._failure(slot, code)
        if slot.worker is not None and code not in IN_ORDER:
            self._give_back(slot, kind, reason)
        if code == ExitCode.wrong_input:
            self._is_wrong_input = True  # the other workers would fail in the same way
        # If it ended normally although there is work, something else asked it to stop.
        if self._is_over():
            slot.code = ExitCode.finished
            return
        if code not in (ExitCode.finished, ExitCode.replace) and not slot.trials:
            slot.num_bad_starts += 1
            if slot.num_bad_starts >= (MAX_BAD_STARTS if code > 0 else MAX_KILLED_STARTS):
                self._note(f"worker {slot.number} keeps failing: {reason}")
                slot.code = 1
                return
        again = self._start(slot.number)
        if again is None:
            slot.code = 1
            return
        again.num_bad_starts = slot.num_bad_starts
        self._slots[slot.number] = again

    def _is_over(self) -> bool:
        """Return whether another worker would have nothing to do."""
        if self._is_stopping:
            return True
        try:
            return self._study.is_over
        except StorageGone:
            return False  # a worker waits for it without limit

    def _failure(self, slot: _Slot, code: int) -> tuple[FailureKind, str]:
        log = f"log: {self._starter.log(str(slot.number))}"
        if slot.is_hung:
            return FailureKind.hung, f"no progress for {self._longest(slot):g} s, {slot.doing}"
        if code >= 0:
            return FailureKind.crashed, f"the worker failed with exit code {code}; {log}"
        if -code == signal.SIGKILL and num_memory_kills() > slot.num_memory_kills:
            return (
                FailureKind.out_of_memory,
                "the kernel killed the worker: the machine's memory ran out",
            )
        by = f"by signal {-code} ({_name_of(-code)})"
        if -code in _FROM_OUTSIDE:
            return FailureKind.killed, f"the worker was killed {by}"
        return FailureKind.crashed, f"the worker crashed {by}; {log}"

    def _give_back(self, slot: _Slot, kind: FailureKind, reason: str) -> None:
        assert slot.worker is not None
        if self._is_away and self._is_stopping:
            return  # the next process that opens the study heals it
        try:
            ends = end_worker(self._study, slot.worker, kind, reason)
        except StorageGone as error:
            self._is_away = True
            self._note(str(error))
            return
        for end in ends:
            self._report(event_of(end))
        if not ends and not self._received:
            self._note(f"worker {slot.number}: {reason}")

    def _clear_up(self) -> None:
        """Kill workers that hang, and children of dead ones, which keep the event pipe open."""
        self._groups = {group for group in self._groups if not reap_group(group)}
        now = time.monotonic()
        stood_still, self._looked = now - self._looked, now
        for slot in self._slots:
            if stood_still > STILL_SECONDS:
                slot.last_sign = now  # this process was stopped, not the worker
            if slot.code is None:
                is_dead = slot.process.poll() is not None
                is_hung = not is_dead and time.monotonic() - slot.last_sign > self._longest(slot)
                slot.is_hung = slot.is_hung or is_hung
                if is_dead or is_hung:
                    kill_tree(slot.process.pid)

    def _longest(self, slot: _Slot) -> float:
        """Return the seconds without events after which the slot's worker counts as hung."""
        longest = self._study.plan.search.settings.hang_seconds
        if slot.worker is None:  # it sends no events during its imports
            return max(longest, START_SECONDS)
        return longest

    def _start(self, number: int) -> _Slot | None:
        """Start a worker and a thread that reads its events; return None if no card is free."""
        is_replaced = number < len(self._slots)
        started = self._starter.start(number, CARD_SECONDS if is_replaced else 0.0)
        if started is None:
            return None
        arguments = number, started.events, self._events
        threading.Thread(target=_read, args=arguments, daemon=True).start()
        return _Slot(number, started.process, started.lifeline, num_memory_kills())

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def on_signal(number: int, frame: FrameType | None) -> None:
            self._received.append(number)
            if len(self._received) == 1:
                note = Note("stopping: saving checkpoints (press Ctrl-C again to stop at once)")
                self._events.put((0, note))  # also wakes the loop, which asks the workers
            else:
                for slot in self._slots:
                    if slot.code is None:
                        kill_tree(slot.process.pid)

        before: dict[int, Any] = {}
        if (
            threading.current_thread() is threading.main_thread()
        ):  # only the main thread receives signals
            before = {number: signal.signal(number, on_signal) for number in SIGNALS}
        try:
            yield
        finally:
            restore_handlers(before)


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def _read(number: int, lines: TextIO, events: queue.SimpleQueue[tuple[int, Event | None]]) -> None:
    try:
        with lines:
            for line in lines:
                if line.endswith("\n"):  # a killed worker may leave half a line
                    events.put((number, from_line(line)))
    finally:
        events.put((number, None))
