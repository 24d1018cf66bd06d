"""Null is one of the values of a choice: ../shared/cases/null-in-choice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import run_here
from tests.shared import SHARED, needs

pytestmark = needs(SHARED / "cases" / "null-in-choice")


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("task.class_weights=choice(null,balanced)", {"null", "balanced"}),
        ("task.class_weights=null,balanced", {"null", "balanced"}),
        ("trainer.patience=choice(null,1,2)", {"null", "1", "2"}),
    ],
)
def test_it_stands_in_the_table(here: Path, word: str, values: set[str]) -> None:
    words = ("model=tiny", "search/space=none", "search/sampler=grid", word)
    printed = run_here("plan", "study=x", *words)
    table = printed.partition("\ntrial ")[2].partition("\n\n")[0].splitlines()[1:]
    assert {line.split()[1] for line in table} == values
    key, _, text = word.partition("=")
    assert f"space   {key}  {text}  (default null)" in printed
