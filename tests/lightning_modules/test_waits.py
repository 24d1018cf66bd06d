"""No training step makes the host wait for the device, except when it logs the loss."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lightning_modules.outcome import Ending
from lightning_modules.task.classification import Classification
from tests.lightning_modules.task.test_task import TASKS, files_of, make_run
from tests.training import train
from tests.waits import Waits

# It finds the targets of its pairs on the device.
WAITING = {"preference"}


def waits_of(task: str, folder: Path, here: Path, *words: str) -> Waits:
    """Train 6 steps of less than an epoch, log the loss after the 3rd and the 6th; watch them."""
    six = ("data.batch_size=1", "trainer.max_steps=6", "trainer.log_every_steps=3")
    run = make_run(task, "lora", *files_of(task, folder), *six, *words)
    with Waits().watching() as waits:
        assert train(run, here / "run", waits).ending is Ending.finished
    return waits


def ours(waits: Waits, phase: str) -> set[str]:
    """Return the places that read, except transformers': it looks for padding in each pass."""
    places = waits.places.get(phase, set())
    return {place for place in places if not place.startswith("transformers/")}


@pytest.mark.thorough
@pytest.mark.parametrize("task", [task for task in TASKS if task not in WAITING])
def test_a_step_waits_only_when_it_logs(task: str, here: Path) -> None:
    weights = ("task.class_weights=balanced",) if task == "classification" else ()
    waits = waits_of(task, here, here, *weights)
    steps = {f"training, step {number} of 6": number for number in range(1, 7)}
    assert steps.keys() <= waits.phases
    found = {number: ours(waits, step) for step, number in steps.items()}
    assert {number for number, places in found.items() if places} == {3, 6}, found
    assert "lightning_modules/module.py in check_loss" in found[3]


@pytest.mark.thorough
def test_a_step_that_reads_a_number_of_the_device_is_noticed(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Classification.loss_sum

    def read(task: Classification, output: object, batch: dict[str, Tensor]) -> Tensor:
        loss = whole(task, output, batch)
        assert float(loss.detach()) >= 0 and len((batch["labels"] == 0).nonzero()) >= 0
        assert torch.isfinite(loss)
        return loss

    monkeypatch.setattr(Classification, "loss_sum", read)
    waits = waits_of("classification", here, here)
    assert ours(waits, "training, step 2 of 6") == {"lightning_modules/module.py in _loss"}
