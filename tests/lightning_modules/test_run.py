from __future__ import annotations

from pathlib import Path

from tests.training import tiny_run


def test_a_run_lists_its_values_by_config_key(learnable: Path) -> None:
    flat = tiny_run(learnable).flat()
    assert flat["strategy"] == "full"
    assert flat["optimizer.lr"] == 3e-3
    assert flat["trainer.precision"] == "fp32"
    assert flat["seed"] == 0
    assert all(not isinstance(value, dict) for value in flat.values())


def test_a_changed_value_changes_only_its_own_key(learnable: Path) -> None:
    flat = tiny_run(learnable).flat()
    changed = tiny_run(learnable, "trainer.epochs=7").flat()
    assert flat.keys() == changed.keys()
    assert {key for key in flat if flat[key] != changed[key]} == {"trainer.epochs"}
