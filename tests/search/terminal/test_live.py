"""Live output on a terminal: real pseudo-terminals, real signals, real processes."""

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

# Draws a study whose budget counts how often it was read.
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
    """A process on its own terminal, with 24 lines of 80 characters."""

    def __init__(self, code: str, environment: Mapping[str, str] | None = None) -> None:
        self.output = ""
        self._master, inner = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
            # The terminal has no size; rich reads these variables.
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
        """Read until `text` is written after what was read before, or to the end for None."""
        start, end = len(self.output), time.monotonic() + seconds
        while time.monotonic() < end and (text is None or text not in self.output[start:]):
            if not select.select([self._master], [], [], 0.1)[0]:
                continue
            try:
                chunk = os.read(self._master, 65536)
            except OSError:  # its other side is closed
                break
            if not chunk:
                break
            self.output += chunk.decode(errors="replace")
        assert text is None or text in self.output[start:], self.output
        if text is None:
            self.process.wait(timeout=60)
            os.close(self._master)
        return self.output


def written(text: str) -> str:
    """Return the output without escape sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")


def assert_cursor_is_there(output: str) -> None:
    assert output.rfind(SHOWN) > output.rfind(HIDDEN)


def last_table(output: str) -> str:
    return written(output[output.rindex("study ") :])


@pytest.mark.thorough
def test_the_table_is_redrawn_in_place_and_the_last_one_stays() -> None:
    terminal = Terminal(PROGRAM.replace("BODY", "draw(5)"))
    output = terminal.read_until(None)
    assert terminal.process.returncode == 0
    budgets = [int(n) for n in re.findall(r"3 of (\d+) trials ended", written(output))]
    assert len(budgets) >= 3 and budgets == sorted(budgets)
    assert re.search("before\n", written(output)) and "\x1b[1A\x1b[2K" in output
    end = last_table(output)
    assert re.match(r"study mine: 3 of \d+ trials ended.*\n", end)
    assert end.index("! a warning") < end.index("\nafter")
    assert "between" in written(output) and "between" not in end
    assert_cursor_is_there(output)


def test_ctrl_c_keeps_the_table_and_the_cursor() -> None:
    terminal = Terminal(PROGRAM.replace("BODY", "time.sleep(60)"))
    terminal.read_until("between")
    terminal.process.send_signal(signal.SIGINT)
    output = terminal.read_until(None)
    assert terminal.process.returncode == 0
    assert re.search(
        r"trials ended.*! a warning\s+interrupted\s+after", last_table(output), re.DOTALL
    )
    assert_cursor_is_there(output)


def test_a_failure_is_printed_below_the_table() -> None:
    terminal = Terminal(PROGRAM.replace("BODY", "raise ValueError('boom')"))
    output = terminal.read_until(None)
    assert terminal.process.returncode == 1
    assert re.search("! a warning.*Traceback.*ValueError: boom", last_table(output), re.DOTALL)
    assert_cursor_is_there(output)


def test_a_kill_keeps_the_cursor() -> None:
    terminal = Terminal(PROGRAM.replace("BODY", "time.sleep(60)"))
    terminal.read_until("between")
    terminal.process.kill()
    assert_cursor_is_there(terminal.read_until(None))


def test_an_ascii_terminal_gets_ascii() -> None:
    code = PROGRAM.replace("BODY", "table.note('müde')")
    terminal = Terminal(code, {"PYTHONIOENCODING": "ascii"})
    output = terminal.read_until(None)
    assert terminal.process.returncode == 0, output
    assert "! m?de" in last_table(output)


@pytest.mark.parametrize(("term", "expected"), [("xterm-256color", True), ("dumb", False)])
def test_a_terminal_that_can_move_its_cursor_is_live(term: str, expected: bool) -> None:
    code = "import sys; from search.terminal.live import is_live; print(is_live(sys.stdout))"
    assert written(Terminal(code, {"TERM": term}).read_until(None)).strip() == str(expected)


def test_other_streams_are_not_live(capsys: pytest.CaptureFixture[str]) -> None:
    assert not is_live(sys.stdout)
    assert not is_live(io.StringIO())


def test_rich_is_imported_only_for_drawing() -> None:
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
    """Returns snapshots, or fails on request."""

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


def test_a_busy_database_is_reported_only_if_it_lasts(
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


def test_a_drawing_error_is_shown_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "REFRESH_SECONDS", 0.05)
    console, stream = a_console()
    source = Source()
    with LiveTable(source, console):
        wait_until(lambda: "1 of 8" in written(stream.getvalue()), "the table")
        source.study = a_study(objectives=("a", "b"))  # the row has one value
    assert "1 of 8" in last_table(stream.getvalue())
    assert "out of date" in last_table(stream.getvalue())


def test_a_study_that_never_answers_is_reported_at_the_end() -> None:
    console, stream = a_console()
    source = Source()
    source.failure = OSError("disk I/O error")
    with LiveTable(source, console):
        pass
    assert "OSError: disk I/O error" in written(stream.getvalue())


def test_the_table_is_refreshed_on_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "REFRESH_SECONDS", 60.0)
    console, stream = a_console()
    source = Source()
    with LiveTable(source, console) as table:
        wait_until(lambda: "1 of 8" in written(stream.getvalue()), "the table")
        source.study = a_study(num_ended=8)
        table.note("late")
    assert "8 of 8" in last_table(stream.getvalue()) and "! late" in last_table(stream.getvalue())
    assert "live table" not in [thread.name for thread in threading.enumerate()]


def test_an_expensive_study_is_read_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_an_unchanged_table_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "REFRESH_SECONDS", 0.01)
    console, stream = a_console()
    source = Source()
    with LiveTable(source, console):
        wait_until(lambda: source.num_taken > 5, "five snapshots")
        length = len(stream.getvalue())
        wait_until(lambda: source.num_taken > 20, "twenty snapshots")
        assert len(stream.getvalue()) == length


def test_progress_is_plain_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress() as progress:
        for step in range(1, 5):
            progress.step(step, 4)
            if step % 2 == 0:
                progress.point(f"epoch {step / 2:g}  accuracy [0.5]")
    assert capsys.readouterr().out == "epoch 1  accuracy [0.5]\nepoch 2  accuracy [0.5]\n"


def test_progress_is_a_bar_below_the_lines_on_a_terminal() -> None:
    output = Terminal(
        """
import time
from search.terminal.live import RunProgress

with RunProgress() as progress:
    for step in range(40, 81):  # it resumes from a checkpoint
        progress.step(step, 80)
        time.sleep(0.04)
        if step == 60:
            progress.point("epoch 3  accuracy [0.5]")
print("done")
"""
    ).read_until(None)
    plain = written(output)
    steps = [int(step) for step in re.findall(r"step (\d+) of 80 ━", plain)]
    assert len(set(steps)) >= 3 and steps == sorted(steps) and steps[0] >= 40
    assert re.search(r"━ +\d\d% ~\d\S* s left", plain)
    assert "epoch 3  accuracy [0.5]" in plain
    assert plain.rstrip().endswith("done")
    # The bar disappears at the end; its line is cleared before other output.
    assert output[output.rindex("of 80") :].count("\x1b[2K") >= 1
    assert_cursor_is_there(output)
