"""Signals are a flag for what trains; the caller's own handlers come back."""

from __future__ import annotations

import os
import signal

import pytest

from search.machine.signals import Interrupt


def test_the_first_signal_is_a_flag_and_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupt() as interrupt:
        assert not interrupt() and interrupt.exit_code == 0
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt() and interrupt.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_ctrl_c_interrupts_the_caller_and_spares_its_process() -> None:
    with pytest.raises(KeyboardInterrupt), Interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_a_worker_only_notes_the_first_of_several_signals() -> None:
    with Interrupt(ends_at_second=False) as interrupt:
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.number == signal.SIGUSR2
