from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.error import ConfigError
from search.config import compose
from search.plan.build import build_plan
from search.plan.guard import guard_problems
from search.plan.plan import Plan

LABELS = ("negative", "positive")


def plan_of(*words: str) -> Plan:
    return build_plan(compose("sweep", ["study=s", "model=tiny", "logger=none", *words]))


def test_a_plan_has_its_guards() -> None:
    entry = "{data: reviews, metric: accuracy, at_least: 0.5}"
    plan = plan_of(f"search.guards=[{entry}]")
    assert [guard.name for guard in plan.guards] == ["reviews"]
    assert list(guard_problems(plan, LABELS)) == []
    assert plan_of().guards == ()


def test_every_guard_and_every_arm_is_checked(here: Path) -> None:
    entry = "{data: gone.csv, metric: accuracy, at_least: 0.5}"
    words = (f"search.guards=[forgetting,{entry}]", "strategy=choice(lora,full)")
    problems = list(map(str, guard_problems(plan_of(*words), LABELS)))
    assert [problem.partition(":")[0] for problem in problems] == [
        "search.guards.0.data",
        "search.guards.1.data",
    ]


def test_a_loop_of_ones_own_has_no_guard() -> None:
    with pytest.raises(ConfigError, match=r"search\.guards: must be empty if search.ask_tell is"):
        plan_of("search.guards=[forgetting]", "search.ask_tell=true")
