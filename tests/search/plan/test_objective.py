from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lightning_modules.error import ConfigError
from lightning_modules.outcome import Ending, Outcome, Point
from search.config import compose
from search.plan.build import build_plan
from search.plan.objective import build_objectives
from search.study.prepare import check_study
from tests.conftest import classification

POINT = Point(1, 10, 160, 1.0, 0.5, 0.6, {"accuracy": 0.8, "log_loss": 0.4}, 7.0)
REFUSED = r"^search\.objectives: mfu needs a GPU .*, got cpu, fp32"
OUTCOME = Outcome(
    ending=Ending.finished,
    reason="",
    best=POINT,
    points=(POINT,),
    seconds=9.5,
    num_trainable=66,
    num_parameters=1000,
    hardware="cpu, fp32 (2 threads)",
    num_threads=2,
    verdict="",
    memory_bytes=3 * 2**29,
    tokens_per_second=2500.0,
    gradient_norm=0.25,
)


@pytest.mark.parametrize(
    ("name", "full", "direction", "value"),
    [
        ("accuracy", "validation/accuracy", "maximize", 0.8),
        ("validation/log_loss", "validation/log_loss", "minimize", 0.4),
        ("seconds", "seconds", "minimize", 9.5),
        ("trainable_parameters", "trainable_parameters", "minimize", 66.0),
        ("tokens_per_second", "tokens_per_second", "maximize", 2500.0),
        ("peak_memory_gib", "peak_memory_gib", "minimize", 1.5),
        ("gradient_norm", "gradient_norm", "minimize", 0.25),
    ],
)
def test_an_objective_takes_its_value_from_a_finished_training(
    name: str, full: str, direction: str, value: float
) -> None:
    (objective,) = build_objectives([name], classification())
    assert (objective.name, objective.direction) == (full, direction)
    assert objective.value(OUTCOME) == value
    assert objective.sign == (1 if direction == "maximize" else -1)


def test_the_share_of_the_peak_is_an_objective_where_it_is_known() -> None:
    (objective,) = build_objectives(["mfu"], classification())
    assert objective.direction == "maximize"
    assert objective.value(replace(OUTCOME, mfu=0.4)) == 0.4
    with pytest.raises(ConfigError, match=REFUSED):
        objective.value(OUTCOME)


def test_a_run_without_steps_is_the_slowest() -> None:
    for objective in build_objectives(["tokens_per_second", "mfu"], classification()):
        assert objective.value(replace(OUTCOME, tokens_per_second=None)) == 0.0
    (objective,) = build_objectives(["gradient_norm"], classification())
    assert objective.value(replace(OUTCOME, gradient_norm=None)) == 0.0


def test_a_machine_that_cannot_measure_an_objective_is_refused(here: Path) -> None:
    words = ("trainer.device=cpu", "trainer.precision=fp32", "model=tiny", "logger=none")
    plan = build_plan(compose("sweep", [*words, "search.objectives=[accuracy,mfu]"]))
    with pytest.raises(ConfigError, match=REFUSED):
        check_study(plan, here / "studies/default")


def test_features_that_are_computed_once_have_no_tokens_per_second(here: Path) -> None:
    words = ("model=tiny", "logger=none", "strategy=choice(lora,feature_extraction)")
    plan = build_plan(compose("sweep", [*words, "search.objectives=[accuracy,tokens_per_second]"]))
    with pytest.raises(
        ConfigError, match=r"epoch, got strategy=feature_extraction\. Search seconds"
    ):
        check_study(plan, here / "studies/default")
