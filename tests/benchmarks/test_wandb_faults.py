"""The table of `wandb_faults.py`: what it calls lost, and whole."""

from __future__ import annotations

import pytest
from wandb_faults import Study, row

RECORDS = [["trial 0", ["loss"], "exit"]]
OFFLINE = Study(waits={"open": 1.0}, cores=40.0, num_requests=0, records=RECORDS)


def study(closing: float, records: list[list[object]]) -> Study:
    return Study({"open": 1.0, "close": closing}, 40.0, 1, records)


@pytest.mark.parametrize(("closing", "is_met"), [(1.9, True), (2.1, False)])
def test_a_study_may_wait_for_a_twentieth_of_its_time(closing: float, is_met: bool) -> None:
    line, found = row("hang", [study(closing, RECORDS)], [OFFLINE])
    assert found is is_met
    assert f"{closing:+.1f} " in line and "close" in line


def test_a_record_without_an_end_is_not_whole() -> None:
    line, is_met = row("500", [study(0.0, [["trial 0", ["loss"]]])], [OFFLINE])
    assert not is_met
    assert line.endswith("NOT WHOLE")
