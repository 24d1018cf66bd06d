from __future__ import annotations

from lightning_modules.outcome import Ending
from search.storage.attribute import GUARD, broken_guards, constraint


def test_a_trial_has_the_endings_of_a_training_and_failed() -> None:
    trainings = {ending.value for ending in Ending}
    assert {ending.value for ending in Ending} == trainings | {"failed"}


def test_a_constraint_is_named_as_optuna_reads_it() -> None:
    assert constraint(Ending.diverged) == "constraints:diverged"


def test_guards_are_broken_by_values_above_zero() -> None:
    attributes = {f"{GUARD}old": 0.1, f"{GUARD}new": -0.1, "constraints:diverged": 1.0, "x": 3}
    assert broken_guards(attributes) == ("old",)
