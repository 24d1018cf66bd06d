"""One training, from a typed configuration to its outcome: the whole story is `fit`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from lightning_modules.atomic import write_json
from lightning_modules.data.base import Corpus, Data
from lightning_modules.logger.base import Identity, Logger, RunLog
from lightning_modules.model.base import Model
from lightning_modules.optimizer.base import Optimizer
from lightning_modules.record import Ending, Outcome, Point, Record, Stopped, fit_verdict
from lightning_modules.schedule.base import Schedule
from lightning_modules.strategy.base import Strategy
from lightning_modules.task.base import Task
from lightning_modules.trainer import Trainer
from lightning_modules.warm import Warm

BEST_FILE = "best.safetensors"
OUTCOME_FILE = "outcome.json"
LABELS_FILE = "labels.json"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One fully specified training."""

    seed: int
    model: Model
    data: Data
    task: Task
    strategy: Strategy
    optimizer: Optimizer
    schedule: Schedule
    trainer: Trainer
    logger: Logger

    def flat(self) -> dict[str, Any]:
        """Return every value by its config key, as `{"optimizer.lr": 0.001, ...}`."""
        return dict(_flatten("", self))


@dataclass(frozen=True)
class Material:
    """A run's checked rows and labels; made without loading any model."""

    corpus: Corpus
    labels: tuple[str, ...]


def inspect(run: Run) -> Material:
    """Check everything that can be checked before the first expensive second.

    Raises:
        UserError: The data cannot be used, or the model cannot be had.

    """
    corpus = run.data.load()
    labels = run.task.labels(corpus)
    run.model.check()
    return Material(corpus, labels)


class Hooks:
    """What a run asks of whoever started it; this one lets it run to its end."""

    def began(self, num_examples: int, stable_examples: int) -> None:
        """Hear how many examples the run will see, and up to where a longer one is the same."""

    def progress(self, point: Point) -> str | None:
        """Hear of a validation; answer a reason to prune the run, or None."""
        return None

    def interrupted(self) -> bool:
        """Say whether the run shall save a checkpoint and stop now."""
        return False


def fit(
    run: Run,
    folder: Path,
    identity: Identity,
    hooks: Hooks | None = None,
    warm: Warm | None = None,
) -> Outcome:
    """Train one run, from its checkpoint in `folder` where there is one.

    Writes to `folder`: `best.safetensors` (the trained parameters at the best validation),
    `labels.json`, `outcome.json`, and `checkpoint.pt` until the run has ended.
    """
    from lightning_modules.callback.checkpoint import FILE_NAME, Checkpointing, load_checkpoint
    from lightning_modules.callback.validation import Validation, validation_steps
    from lightning_modules.datamodule import TextDataModule
    from lightning_modules.hardware import choose_hardware
    from lightning_modules.module import FineTuner
    from lightning_modules.network import build_network, count_parameters
    from lightning_modules.seed import seeded

    hooks, warm = hooks or Hooks(), warm or Warm()
    material = warm.once(("material", run.data, run.task, run.model), lambda: inspect(run))
    tokenizer = warm.once(("tokenizer", run.model), run.model.load_tokenizer)
    hardware = choose_hardware(run.trainer.device, run.trainer.precision)
    write_json(folder / LABELS_FILE, list(material.labels))

    saved = load_checkpoint(folder)
    record = saved.record if saved else Record()
    data = TextDataModule(run, material.corpus.splits, material.labels, tokenizer, record.step)
    network = build_network(run, material.labels, warm)
    num_trainable, num_parameters = count_parameters(network)
    tuner = FineTuner(run, network, data.length, record)

    log = run.logger.open(identity, {**run.flat(), "num_trainable": num_trainable})
    checkpointing = Checkpointing(folder, run.trainer.checkpoint_seconds, saved, hooks.interrupted)
    stable_steps = run.schedule.stable_steps(data.length)
    num_examples = run.trainer.epochs * data.num_train
    hooks.began(num_examples, num_examples * stable_steps // data.length.num_steps)
    steps = validation_steps(data.length, run.trainer.validations_per_epoch)
    validation = Validation(folder, steps, data.num_train, log, checkpointing, hooks.progress)
    trainer = _lightning_trainer(hardware, [checkpointing, validation])
    ending, reason = Ending.finished, f"trained all {run.trainer.epochs} epochs"
    try:
        with seeded(run.seed, "fit"):
            trainer.fit(tuner, data)
    except Stopped as stop:
        ending, reason = stop.ending, stop.reason
    outcome = Outcome(
        ending=ending,
        reason=reason,
        best=record.best,
        points=tuple(record.points),
        seconds=record.seconds,
        num_trainable=num_trainable,
        num_parameters=num_parameters,
        hardware=str(hardware),
        verdict=fit_verdict(record.points),
    )
    _close(log, outcome)
    write_json(folder / OUTCOME_FILE, outcome.as_dict())
    if ending is not Ending.interrupted:
        (folder / FILE_NAME).unlink(missing_ok=True)
    return outcome


def _lightning_trainer(hardware: Any, callbacks: list[Any]) -> Any:
    import pytorch_lightning as pl

    return pl.Trainer(
        accelerator=hardware.device.value,
        devices=1,
        precision=hardware.lightning_precision,
        # One Lightning epoch spans the run; epochs are places in its stream of batches.
        max_epochs=1,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        # Resuming inside a run draws no batch order from Lightning's own state.
        use_distributed_sampler=False,
    )


def _close(log: RunLog, outcome: Outcome) -> None:
    best: Mapping[str, Any] = outcome.best.metrics if outcome.best else {}
    log.finish(
        {
            "ending": outcome.ending.value,
            "reason": outcome.reason,
            "verdict": outcome.verdict,
            "seconds": outcome.seconds,
            **{f"best/{name}": value for name, value in best.items()},
            **({"best/epoch": outcome.best.epoch} if outcome.best else {}),
        }
    )


def _flatten(prefix: str, value: Any) -> list[tuple[str, Any]]:
    if not is_dataclass(value):
        return [(prefix, value.value if isinstance(value, Enum) else value)]
    # A group reads as its member's name, `strategy: lora`, beside its values.
    member = type(value).__module__.rsplit(".", 1)[-1]
    own = [(prefix, member)] if prefix else []
    dot = f"{prefix}." if prefix else ""
    return own + [
        pair
        for field in fields(value)
        for pair in _flatten(dot + field.name, getattr(value, field.name))
    ]
