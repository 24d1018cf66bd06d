"""A run says once if writing texts takes a large share of its time."""

from __future__ import annotations

from lightning_modules.text.writing import Writing


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def notes_after(clock: Clock, writing: Writing, training: float, wrote: float) -> list[str]:
    clock.seconds += training
    with writing.measured():
        clock.seconds += wrote
    return list(writing.notes(20))


def test_a_share_of_more_than_a_fifth_is_said_once() -> None:
    clock = Clock()
    writing = Writing(clock)
    clock.seconds += 1000  # the network is built
    writing.start()
    assert notes_after(clock, writing, 8, 12) == []  # too early to say
    (line,) = notes_after(clock, writing, 32, 0)
    assert line.startswith("writing texts for 20 validation rows takes 23% of the time; a lower ")
    assert notes_after(clock, writing, 0, 100) == []


def test_nothing_is_said_of_short_writing_or_of_tasks_that_write_nothing() -> None:
    clock = Clock()
    writing = Writing(clock)
    assert notes_after(clock, writing, 90, 20) == []
    with writing.measured():
        clock.seconds += 1000
    assert list(writing.notes(0)) == []
