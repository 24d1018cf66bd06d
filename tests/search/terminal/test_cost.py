"""Costs of arms, and arms without training next to others."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from search.terminal.cost import pareto_front
from tests.conftest import run_here


def test_equal_points_are_all_on_the_front() -> None:
    assert pareto_front([(0.9, 3.0), (0.9, 3.0), (0.8, 4.0)]) == {0, 1}
    assert pareto_front([]) == set()


@pytest.mark.thorough
def test_a_study_with_and_without_training(learnable: Path) -> None:
    words = ("study=ways", "model=tiny", "strategy=choice(prompting,full)", "strategy.lr=3e-3")
    words += ("strategy.num_shots=choice(0,4)", "data=files", f"data.train={learnable}")
    words += ("logger=none", "trainer.epochs=1", "search.num_trials=5", "search.workers=0")
    output = run_here("sweep", *words)
    with Path("studies/ways/trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    asked = [row for row in rows if row["strategy"] == "prompting"]
    assert asked and all(row["state"] == "complete" for row in asked)
    assert all(row["trainable_parameters"] == "0" and not row["optimizer.lr"] for row in asked)
    assert len({row["strategy.num_shots"] for row in asked}) == len(asked) <= 2
    (at,) = [n for n, line in enumerate(output.splitlines()) if line.startswith("best of")]
    table = [line.split() for line in output.splitlines()[at + 1 : at + 3]]
    assert {row[0] for row in table} == {"prompting", "full"}
    assert any(row[-1] == "front" for row in table)
    # Repeating the command finds nothing left, and every page still draws single points.
    assert "5 complete" in run_here("sweep", *words) or "pruned" in output
    state = json.loads(run_here("status", "study=ways", "--json"))
    assert state["remaining"] == 0
    assert "prompting" in run_here("status", "study=ways")
