"""What moves on a terminal: real pseudo-terminals, real signals, real processes."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace

import pytest
from rich.console import Console

from search.report.snapshot import Snapshot, TrialRow
from search.terminal import live
from search.terminal.live import LiveTable, RunProgress, is_live
from tests.conftest import wait_until

HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"

# Draws a study whose budget counts how often it was asked for.
PROGRAM = """
import sys, time
from search.terminal.live import LiveTable
from search.report.snapshot import Snapshot

asked = 0

def take():
    global asked
    asked += 1
    counts = {"complete": 3}
    accuracy = ("validation/accuracy",)
    return Snapshot(
        "mine", accuracy, ("maximize",), (), asked, 3, counts, 5.0, 60.0, None, False, ()
    )

def draw(number):
    while asked <= number:  # the one after it may not be drawn yet
        time.sleep(0.01)

print("before", flush=True)
try:
    with LiveTable(take) as table:
        table.note("a warning")
        draw(2)
        print("between", flush=True)
        BODY
except KeyboardInterrupt:
    print("interrupted", flush=True)
print("after", flush=True)
"""


class Terminal:
    """A process on a terminal of its own, of 24 lines of 80 characters."""

    def __init__(self, code: str, environment: Mapping[str, str] | None = None) -> None:
        self.told = ""
        self._master, inner = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
            # The terminal has no size of its own; rich asks these.
            env={
                **os.environ,
                "TERM": "xterm",
                "COLUMNS": "80",
                "LINES": "24",
                **(environment or {}),
            },
        )
        os.close(inner)

    def read_until(self, text: str | None, seconds: float = 60) -> str:
        """Read until `text` was written after what was read before, or to the end for None."""
        start, end = len(self.told), time.monotonic() + seconds
        while time.monotonic() < end and (text is None or text not in self.told[start:]):
            if not select.select([self._master], [], [], 0.1)[0]:
                continue
            try:
                chunk = os.read(self._master, 65536)
            except OSError:  # its other side is closed
                break
            if not chunk:
                break
            self.told += chunk.decode(errors="replace")
        assert text is None or text in self.told[start:], self.told
        if text is None:
            self.process.wait(timeout=60)
            os.close(self._master)
        return self.told


def written(text: str) -> str:
    """Return what was written, without escape sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")


def assert_cursor_is_there(told: str) -> None:
    assert told.rfind(SHOWN) > told.rfind(HIDDEN)


def last_table(told: str) -> str:
    return written(told[told.rindex("study ") :])


@pytest.mark.thorough
def test_redraws_in_place_and_leaves_the_last_table_above_what_follows() -> None:
    terminal = Terminal(PROGRAM.replace("BODY", "draw(5)"))
    told = terminal.read_until(None)
    assert terminal.process.returncode == 0
    budgets = [int(n) for n in re.findall(r"3 of (\d+) trials ended", written(told))]
    assert len(budgets) >= 3 and budgets == sorted(budgets)
    assert re.search("before\n", written(told)) and "\x1b[1A\x1b[2K" in told
    end = last_table(told)
    assert re.match(r"study mine: 3 of \d+ trials ended.*\n", end)
    assert end.index("! a warning") < end.index("\nafter")
    assert "between" in written(told) and "between" not in end
    assert_cursor_is_there(told)


def test_ctrl_c_leaves_a_table_and_a_cursor() -> None:
    terminal = Terminal(PROGRAM.replace("BODY", "time.sleep(60)"))
    terminal.read_until("between")
    terminal.process.send_signal(signal.SIGINT)
    told = terminal.read_until(None)
    assert terminal.process.returncode == 0
    assert re.search(
        r"trials ended.*! a warning\s+interrupted\s+after", last_table(told), re.DOTALL
    )
    assert_cursor_is_there(told)


def test_a_failure_inside_is_told_below_the_table() -> None:
    terminal = Terminal(PROGRAM.replace("BODY", "raise ValueError('boom')"))
    told = terminal.read_until(None)
    assert terminal.process.returncode == 1
    assert re.search("! a warning.*Traceback.*ValueError: boom", last_table(told), re.DOTALL)
    assert_cursor_is_there(told)


def test_a_kill_leaves_a_cursor() -> None:
    terminal = Terminal(PROGRAM.replace("BODY", "time.sleep(60)"))
    terminal.read_until("between")
    terminal.process.kill()
    assert_cursor_is_there(terminal.read_until(None))


def test_writes_ascii_where_the_terminal_has_no_more() -> None:
    code = PROGRAM.replace("BODY", "table.note('müde')")
    terminal = Terminal(code, {"PYTHONIOENCODING": "ascii"})
    told = terminal.read_until(None)
    assert terminal.process.returncode == 0, told
    assert "! m?de" in last_table(told)


@pytest.mark.parametrize(("term", "expected"), [("xterm-256color", True), ("dumb", False)])
def test_is_live_on_a_terminal_that_moves_its_cursor(term: str, expected: bool) -> None:
    code = "import sys; from search.terminal.live import is_live; print(is_live(sys.stdout))"
    assert written(Terminal(code, {"TERM": term}).read_until(None)).strip() == str(expected)


def test_is_not_live_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert not is_live(sys.stdout)
    assert not is_live(io.StringIO())


def test_rich_is_not_imported_before_something_is_drawn() -> None:
    code = (
        "import sys; from search.cli import main; assert main(['--help']) == 0\n"
        "import search.terminal.live, search.report.text; assert 'rich' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def a_study(**changes: object) -> Snapshot:
    values = {"optimizer.lr": 0.001}
    row = TrialRow(0, "complete", values, (0.75,), (0.5, 0.75), 1.0, 9.0, None, 1, True, None)
    counts = {"complete": 1, "pruned": 0, "fail": 0, "running": 0, "waiting": 0}
    kept = Snapshot(
        "mine",
        ("validation/accuracy",),
        ("maximize",),
        ("optimizer.lr",),
        8,
        1,
        counts,
        42.0,
        None,
        None,
        False,
        (row,),
    )
    return replace(kept, **changes)  # type: ignore[arg-type]


class Source:
    """Gives snapshots; fails while told to."""

    def __init__(self) -> None:
        self.num_taken = 0
        self.failure: Exception | None = None
        self.study = a_study()

    def __call__(self) -> Snapshot:
        self.num_taken += 1
        if self.failure is not None:
            raise self.failure
        return self.study


def a_console() -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, force_terminal=True, width=80, height=24), stream


def test_a_busy_database_is_survived_and_told_when_it_lasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "REFRESH_SECONDS", 0.05)
    console, stream = a_console()
    source = Source()
    with LiveTable(source, console):
        wait_until(lambda: "1 of 8 trials ended" in written(stream.getvalue()), "the table")
        source.failure = OSError("database is locked\n[SQL: BEGIN IMMEDIATE]")
        asked = source.num_taken
        wait_until(lambda: source.num_taken > asked + 3, "three failures")
        assert "out of date" not in stream.getvalue()
        monkeypatch.setattr(live, "STALE_SECONDS", 0.0)
        wait_until(lambda: "! out of date for" in stream.getvalue(), "the note")
        assert "OSError: database is locked" in last_table(stream.getvalue())
        assert "1 of 8 trials ended" in last_table(stream.getvalue())
        source.failure, source.study = None, a_study(num_ended=2)
        wait_until(lambda: "2 of 8 trials ended" in written(stream.getvalue()), "news")
    assert "out of date" not in last_table(stream.getvalue())


def test_what_cannot_be_drawn_is_told_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "REFRESH_SECONDS", 0.05)
    console, stream = a_console()
    source = Source()
    with LiveTable(source, console):
        wait_until(lambda: "1 of 8" in written(stream.getvalue()), "the table")
        source.study = a_study(objectives=("a", "b"))  # the row has one value
    assert "1 of 8" in last_table(stream.getvalue())
    assert "out of date" in last_table(stream.getvalue())


def test_a_study_that_never_answers_is_told_at_the_end() -> None:
    console, stream = a_console()
    source = Source()
    source.failure = OSError("disk I/O error")
    with LiveTable(source, console):
        pass
    assert "OSError: disk I/O error" in written(stream.getvalue())


def test_the_last_refresh_happens_when_it_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "REFRESH_SECONDS", 60.0)
    console, stream = a_console()
    source = Source()
    with LiveTable(source, console) as table:
        wait_until(lambda: "1 of 8" in written(stream.getvalue()), "the table")
        source.study = a_study(num_ended=8)
        table.note("late")
    assert "8 of 8" in last_table(stream.getvalue()) and "! late" in last_table(stream.getvalue())
    assert "live table" not in [thread.name for thread in threading.enumerate()]


def test_an_expensive_study_is_asked_for_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "REFRESH_SECONDS", 0.01)
    console, _ = a_console()
    source = Source()
    begun: list[float] = []
    ended: list[float] = []

    def slow() -> Snapshot:
        begun.append(time.monotonic())
        end = time.thread_time() + 0.1
        while time.thread_time() < end:
            pass
        ended.append(time.monotonic())
        return source()

    with LiveTable(slow, console):
        wait_until(lambda: len(begun) == 2, "a second question")
    assert begun[1] - ended[0] > 0.99  # 0.1 s of a core pay for 1 s


def test_nothing_is_written_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "REFRESH_SECONDS", 0.01)
    console, stream = a_console()
    source = Source()
    with LiveTable(source, console):
        wait_until(lambda: source.num_taken > 5, "five snapshots")
        length = len(stream.getvalue())
        wait_until(lambda: source.num_taken > 20, "twenty snapshots")
        assert len(stream.getvalue()) == length


def test_progress_is_plain_lines_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress() as progress:
        for step in range(1, 5):
            progress.step(step, 4)
            if step % 2 == 0:
                progress.point(f"epoch {step / 2:g}  accuracy [0.5]")
    assert capsys.readouterr().out == "epoch 1  accuracy [0.5]\nepoch 2  accuracy [0.5]\n"


def test_progress_is_a_bar_below_the_lines_on_a_terminal() -> None:
    told = Terminal(
        """
import time
from search.terminal.live import RunProgress

with RunProgress() as progress:
    for step in range(40, 81):  # it goes on from a checkpoint
        progress.step(step, 80)
        time.sleep(0.04)
        if step == 60:
            progress.point("epoch 3  accuracy [0.5]")
print("done")
"""
    ).read_until(None)
    plain = written(told)
    steps = [int(step) for step in re.findall(r"step (\d+) of 80 ━", plain)]
    assert len(set(steps)) >= 3 and steps == sorted(steps) and steps[0] >= 40
    assert re.search(r"━ +\d\d% ~\d\S* s left", plain)
    assert "epoch 3  accuracy [0.5]" in plain
    assert plain.rstrip().endswith("done")
    # The bar goes when it ends; its line is cleared before what follows.
    assert told[told.rindex("of 80") :].count("\x1b[2K") >= 1
    assert_cursor_is_there(told)
