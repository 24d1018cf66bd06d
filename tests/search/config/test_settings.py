from __future__ import annotations

from typing import Any

import pytest

from lightning_modules.error import ConfigError
from search.config.settings import AUTO_PACK, Arms, SearchSettings

VALID: dict[str, Any] = {
    "num_trials": 12,
    "max_hours": None,
    "seed": None,
    "workers": 1,
    "workers_per_device": None,
    "metric": None,
    "select": None,
    "objectives": None,
    "enqueue": [],
    "portfolio": True,
    "arms": Arms.turns,
    "pack": 1,
    "confirm": 0,
    "certify": True,
    "certify_seeds": 3,
    "warm_start": None,
    "max_attempts": 3,
    "hang_seconds": 1800.0,
    "lease_seconds": 60.0,
    "ask_tell": False,
    "direction": None,
    "ask_hours": 24.0,
    "guards": [],
    "keep": 3,
    "plugins": [],
}


def test_zero_workers_is_allowed() -> None:
    assert SearchSettings(**{**VALID, "workers": 0}).workers == 0


def test_a_pack_is_a_number_or_auto() -> None:
    assert SearchSettings(**{**VALID, "pack": 8}).pack_size == 8
    assert SearchSettings(**{**VALID, "pack": "auto"}).pack_size == AUTO_PACK > 1


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("num_trials", 0, "num_trials"),
        ("num_trials", -1, "num_trials"),
        ("max_hours", 0, "max_hours"),
        ("max_hours", float("nan"), "max_hours"),
        ("seed", -1, "seed"),
        ("workers", -1, "workers"),
        ("certify_seeds", 1, "certify_seeds"),
        ("certify_seeds", 101, "certify_seeds"),
        ("keep", 0, "keep"),
        ("pack", 0, "pack"),
        ("pack", "4 trials", "pack"),
        ("max_attempts", 0, "max_attempts"),
        ("hang_seconds", 0.0, "hang_seconds"),
        ("lease_seconds", -1.0, "lease_seconds"),
        ("ask_hours", 0.0, "ask_hours"),
        ("direction", "up", "direction"),
        ("enqueue", [{"optimizer.lr": 1e-3}, 3], "enqueue.1"),
    ],
)
def test_a_broken_rule_names_its_key(key: str, value: object, where: str) -> None:
    with pytest.raises(ConfigError) as error:
        SearchSettings(**{**VALID, key: value})
    assert [problem.where for problem in error.value.problems] == [where]


def test_all_broken_rules_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        SearchSettings(**{**VALID, "num_trials": 0, "workers": -1, "enqueue": ["x"]})
    assert {problem.where for problem in error.value.problems} == {
        "num_trials",
        "workers",
        "enqueue.0",
    }
