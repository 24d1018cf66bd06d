from __future__ import annotations

import importlib.metadata
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.error import ConfigError
from lightning_modules.machine.hardware import choose_hardware
from lightning_modules.trainer import lightning_trainer
from tests.training import tiny_run


def test_all_broken_rules_are_reported_at_once(learnable: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        tiny_run(learnable, "trainer.epochs=0", "data.batch_size=-1", "optimizer.lr=0")
    places = {problem.where for problem in caught.value.problems}
    assert places == {"trainer.epochs", "data.batch_size", "optimizer.lr"}


@pytest.mark.parametrize("field", ["max_steps", "patience", "max_grad_norm", "micro_batch_size"])
def test_optional_settings_are_positive_or_none(learnable: Path, field: str) -> None:
    trainer: Any = tiny_run(learnable).trainer
    assert getattr(replace(trainer, **{field: None}), field) is None
    with pytest.raises(ConfigError, match=f"{field}: must be > 0, got 0"):
        replace(trainer, **{field: 0})


@pytest.mark.parametrize("word", ["auto", "true", "false"])
def test_gradient_checkpointing_is_auto_or_a_truth_value(learnable: Path, word: str) -> None:
    trainer = tiny_run(learnable, f"trainer.gradient_checkpointing={word}").trainer
    assert trainer.gradient_checkpointing == {"auto": "auto", "true": True, "false": False}[word]
    with pytest.raises(ConfigError, match="gradient_checkpointing: must be auto, true or false"):
        tiny_run(learnable, "trainer.gradient_checkpointing=sometimes")


def test_data_workers_are_optional_but_not_negative(learnable: Path) -> None:
    trainer = tiny_run(learnable).trainer
    assert replace(trainer, num_data_workers=0).num_data_workers == 0
    with pytest.raises(ConfigError, match="num_data_workers: must be >= 0, got -1"):
        replace(trainer, num_data_workers=-1)


def test_only_the_first_trainer_reads_the_metadata_of_all_packages(
    learnable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = tiny_run(learnable).trainer
    hardware = choose_hardware(trainer.device, trainer.precision, 1)
    lightning_trainer(hardware, [])

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("looked at the installed packages again")

    monkeypatch.setattr(importlib.metadata, "distributions", refuse)
    monkeypatch.setattr(importlib.metadata.Distribution, "discover", refuse)
    with pytest.raises(AssertionError, match="again"):
        importlib.metadata.entry_points(group="other")
    lightning_trainer(hardware, [])


def test_callbacks_that_packages_declare_are_used_also_if_installed_later(
    learnable: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = tiny_run(learnable).trainer
    hardware = choose_hardware(trainer.device, trainer.precision, 1)

    def names() -> list[str]:
        callbacks: Any = lightning_trainer(hardware, []).callbacks  # type: ignore[attr-defined]
        return [type(each).__name__ for each in callbacks]

    monkeypatch.syspath_prepend(str(here))
    assert "Own" not in names()
    (here / "own_callback.py").write_text(
        "from pytorch_lightning import Callback\n\nclass Own(Callback):\n    pass\n"
    )
    declared = here / "own_callback-1.0.dist-info"
    declared.mkdir()
    (declared / "METADATA").write_text("Metadata-Version: 2.1\nName: own-callback\nVersion: 1.0\n")
    (declared / "entry_points.txt").write_text(
        "[pytorch_lightning.callbacks_factory]\nown = own_callback:Own\n"
    )
    assert [names().count("Own") for _ in range(2)] == [1, 1]
    shutil.rmtree(declared)
    assert "Own" not in names()
