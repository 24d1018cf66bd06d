"""A log range with steps has one value, which is said: ../shared/cases/log-range-single."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.cli import main
from tests.shared import SHARED, needs

CASE = SHARED / "cases" / "log-range-single"
pytestmark = needs(CASE)


def test_it_is_refused_with_the_fix(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("model=tiny", "search/space=none", "optimizer.lr=tag(log,range(1e-5,1e-2))")
    assert main(["plan", "study=x", *words]) == 2
    assert capsys.readouterr().err == (
        "optimizer.lr: a log range with steps has no points between its ends, got "
        "tag(log,range(1e-5,1e-2)). Write tag(log,interval(1e-05,0.01)), or list the values: "
        "choice(...).\n"
    )
