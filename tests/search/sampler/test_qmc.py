from __future__ import annotations

from typing import Any

import optuna
import pytest

from search.config import compose
from search.plan.build import build_plan
from search.plan.plan import Plan
from search.sampler.base import seeded_sampler


@pytest.fixture(scope="module")
def plan() -> Plan:
    words = ["model=tiny", "search/sampler=qmc", "search/space=none"]
    ranges = ["optimizer.weight_decay=interval(0,0.9)", "strategy.dropout=interval(0,0.9)"]
    return build_plan(compose("sweep", [*words, *ranges, "data.batch_size=choice(8,16)"]))


def draw(plan: Plan, numbers: range) -> list[dict[str, Any]]:
    """Return the values of the trials with these numbers; the others fail."""
    sampler = seeded_sampler(plan.search.sampler, plan.space, plan.sampler_seed)
    study = optuna.create_study(sampler=sampler)
    drawn = []
    for number in range(numbers.stop):
        trial = study.ask()
        if number in numbers:
            drawn.append(plan.space.suggest(trial))
        else:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return drawn


def test_sixteen_points_fall_into_sixteen_cells(plan: Plan) -> None:
    # True of a scrambled Sobol sequence, but not of independent draws.
    drawn = draw(plan, range(16))
    for path in ("optimizer.weight_decay", "strategy.dropout"):
        assert {int(values[path] / 0.9 * 16) for values in drawn} == set(range(16))


def test_the_index_in_the_sequence_is_the_trials_number(plan: Plan) -> None:
    assert draw(plan, range(5, 9)) == draw(plan, range(9))[5:]


def test_categories_are_drawn_for_each_trial_and_the_note_says_so(plan: Plan) -> None:
    assert {values["data.batch_size"] for values in draw(plan, range(16))} == {8, 16}
    note = plan.search.sampler.note(plan.space)
    assert note is not None and note.startswith("data.batch_size: choices have no order")
