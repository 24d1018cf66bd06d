"""One training, from a typed configuration to its outcome: the whole story is `fit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from lightning_modules.cache import Warm
from lightning_modules.check import Material, changed_rows, check_fit, inspect, rows_of
from lightning_modules.data.base import Data
from lightning_modules.error import DataError
from lightning_modules.logger.base import Identity, Logger, RunLog
from lightning_modules.machine.file import write_json
from lightning_modules.model.base import Model
from lightning_modules.optimizer.base import Optimizer
from lightning_modules.outcome import (
    UNTRAINED,
    Ending,
    Outcome,
    Point,
    Record,
    Stopped,
    fit_verdict,
)
from lightning_modules.schedule.base import Schedule
from lightning_modules.schema import member_of
from lightning_modules.strategy.base import Strategy
from lightning_modules.task.base import GENERATED, MISTAKES, Examples, Tables, Task
from lightning_modules.trainer import Trainer

BEST_FILE = "best.safetensors"
OBSERVED_FILE = "observed.safetensors"
CHECKPOINT_FILE = "checkpoint.pt"
PREVIOUS_FILE = "checkpoint.previous.pt"
CHECKPOINT_FILES = (CHECKPOINT_FILE, PREVIOUS_FILE)
"""Newest first."""
OUTCOME_FILE = "outcome.json"
LABELS_FILE = "labels.json"
FOUND_FILE = "found.json"
"""Only of a strategy that took something of its rows."""
TOKENIZER_FOLDER = "tokenizer"
"""Only of a run that makes its tokenizer of its rows."""

NUM_LOGGED_ROWS = 20
# W&B takes 15 microseconds a cell: the confusion of 150 labels would cost each trial 0.3 s.
NUM_LOGGED_CELLS = 5000


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


class Hooks:
    """What a run asks of whoever started it; this one lets it run to its end."""

    def began(self, num_examples: int, stable_examples: int, hardware: str) -> None:
        """Hear that training begins.

        Args:
            num_examples: Training examples that the run will see.
            stable_examples: Up to here a longer run would be the same.
            hardware: Device and precision, and why.
        """

    def built(self, num_trainable: int, num_parameters: int) -> None:
        """Hear how many parameters the network has, and how many of them will be trained."""

    def stepped(self, step: int, num_steps: int) -> None:
        """Hear that optimizer step `step` of `num_steps` is done; has to be quick."""

    def progress(self, point: Point) -> str | None:
        """Hear of a validation; answer a reason to prune the run, or None."""
        return None

    def interrupted(self) -> bool:
        """Say whether the run shall save a checkpoint and stop now."""
        return False

    def alive(self, doing: str) -> None:
        """Hear that work goes on; has to be quick.

        Called before everything that may take long: each phase, optimizer step and validation
        batch, and again and again while the run waits for room on the disk.

        Args:
            doing: What comes next, as "training, step 12 of 200".

        """

    def saved(self, step: int) -> None:
        """Hear that a checkpoint after optimizer step `step` is on disk."""

    def note(self, text: str) -> None:
        """Hear something that a person should read."""


def fit(
    run: Run,
    folder: Path,
    identity: Identity,
    hooks: Hooks | None = None,
    warm: Warm | None = None,
    fingerprint: str | None = None,
) -> Outcome:
    """Train one run, from its checkpoint in `folder` where there is one.

    Writes to `folder`: `best.safetensors` (the trained parameters at the best validation),
    `observed.safetensors` (what the task observed there, in the order of the validation rows),
    the task's tables about it (`mistakes.jsonl`, ...), `labels.json`, `outcome.json`, and now and
    then `checkpoint.pt` and the one before it, `checkpoint.previous.pt`, which the caller may
    delete once it has kept the outcome. On a full disk it waits for room.

    Raises:
        UserError: Data or model cannot be used, or the data are not those of `fingerprint`.
    """
    from lightning_modules.callback.checkpoint import Checkpointing, load_checkpoint
    from lightning_modules.callback.memory import PeakMemory
    from lightning_modules.launch.leader import Peers
    from lightning_modules.machine.hardware import choose_hardware
    from lightning_modules.module import FineTuner
    from lightning_modules.network import count_parameters

    hooks, warm = hooks or Hooks(), warm or Warm()
    material = _material(run, hooks, warm, fingerprint)
    run = replace(run, task=run.task.fitted(material.corpus, material.labels))
    hardware = choose_hardware(run.trainer.device, run.trainer.precision, run.trainer.devices)
    peers = warm.once(("peers", run.trainer.devices), lambda: Peers(run.trainer.devices))
    peers.start()
    memory = PeakMemory(hardware.device)

    saved = load_checkpoint(folder, hooks.note)
    record = saved.record if saved else Record()
    num_trainable = num_parameters = 0

    def outcome_of(ending: Ending, reason: str) -> Outcome:
        return Outcome(
            ending=ending,
            reason=reason,
            best=record.best if num_parameters else None,
            points=tuple(record.points),
            seconds=record.seconds,
            num_trainable=num_trainable,
            num_parameters=num_parameters,
            hardware=str(hardware),
            num_threads=hardware.num_threads,
            verdict=fit_verdict(record.points) if run.strategy.trains else UNTRAINED,
            memory_bytes=memory.num_bytes,
        )

    config = run.flat()
    try:
        run = _fitted(run, folder, material, hooks)
        tokenizer = _tokenizer(run, folder, material, hooks, warm)
        data = _data(run, material, tokenizer, record.step, hooks)
        hooks.alive("loading the model")
        network = _network(run, material.labels, warm, tokenizer)
    except Stopped as stop:
        return _written(folder, outcome_of(stop.ending, stop.reason), hooks)
    num_trainable, num_parameters = count_parameters(network)
    hooks.built(num_trainable, num_parameters)
    tuner = FineTuner(
        run, network, data.length, data.validation, data.validation_batches, record, hooks
    )
    hooks.alive("opening the log")
    log = run.logger.open(identity, {**config, "num_trainable": num_trainable}, hooks.note)
    checkpointing = Checkpointing(folder, run.trainer.checkpoint_seconds, saved, hooks)
    hooks.began(*_lengths(run, data), str(hardware))
    watching = _watching(run, folder, data, log, checkpointing, hooks)
    trainer = lightning_trainer(hardware, [memory, checkpointing, *watching])
    ranks = peers.lead(run, hardware, material, tokenizer, record.step)
    try:
        hooks.alive("beginning to train")
        ending, reason = _train(run, trainer, tuner, data, ranks)
        if record.best is not None and ending is not Ending.interrupted:
            _review(run, folder, data.validation, log, hooks)
    except Stopped as stop:  # asked for while the tables waited for room
        ending, reason = stop.ending, stop.reason
    except BaseException:
        log.finish({"ending": "failed"})
        raise
    outcome = outcome_of(ending, reason)
    _close(log, outcome, hooks)
    return _written(folder, outcome, hooks)


def _material(run: Run, hooks: Hooks, warm: Warm, fingerprint: str | None) -> Material:
    hooks.alive("loading the data")
    key = ("material", rows_of(run), run.task.reading, run.model)
    material = warm.once(key, lambda: inspect(run))
    if fingerprint is not None and material.corpus.fingerprint != fingerprint:
        raise DataError(changed_rows())
    check_fit(run, material.corpus)
    return material


def _lengths(run: Run, data: Any) -> tuple[int, int]:
    """Return the training examples that the run sees, and up to where a longer one is the same."""
    length = data.length
    if not length.num_steps:
        return 0, 0
    num_examples = round(data.num_train * length.num_steps / length.steps_per_epoch)
    return num_examples, num_examples * run.schedule.stable_steps(length) // length.num_steps


def _watching(
    run: Run, folder: Path, data: Any, log: RunLog, clock: Any, hooks: Hooks
) -> tuple[Any, ...]:
    """Return the callbacks that tell of steps and validations."""
    from lightning_modules.callback.step import Steps
    from lightning_modules.callback.validation import Validation, validation_steps

    steps: Mapping[int, float] = {0: 0.0}
    if data.length.num_steps:
        steps = validation_steps(data.length, run.trainer.validations_per_epoch)
    validation = Validation(folder, steps, data.num_train, log, clock, hooks)
    return Steps(log, hooks.stepped), validation


def _fitted(run: Run, folder: Path, material: Material, hooks: Hooks) -> Run:
    """Return the run with what its strategy needs of the rows, and keep that in `folder`."""
    from lightning_modules.machine.disk import write_when_room

    strategy = run.strategy.fitted(run.model, run.task, material.corpus)
    if strategy.found:
        found = dict(strategy.found)
        write_when_room(hooks, lambda: write_json(folder / FOUND_FILE, found))
    return replace(run, strategy=strategy)


def _tokenizer(run: Run, folder: Path, material: Material, hooks: Hooks, warm: Warm) -> Any:
    """Return the run's tokenizer, and keep in `folder` what only this run's rows tell."""
    from lightning_modules.machine.disk import write_when_room
    from lightning_modules.network import build_tokenizer

    write_when_room(hooks, lambda: write_json(folder / LABELS_FILE, list(material.labels)))
    hooks.alive("making the tokenizer")
    tokenizer = build_tokenizer(run, material.corpus.splits["train"], warm)
    if run.strategy.trains_tokenizer:
        write_when_room(hooks, lambda: tokenizer.save_pretrained(folder / TOKENIZER_FOLDER))
    return tokenizer


def _data(run: Run, material: Material, tokenizer: Any, step: int, hooks: Hooks) -> Any:
    from lightning_modules.datamodule import TextDataModule
    from lightning_modules.machine.disk import write_when_room

    splits, labels = material.corpus.splits, material.labels
    return write_when_room(
        hooks, lambda: TextDataModule(run, splits, labels, tokenizer, step, hooks.alive)
    )


def _network(run: Run, labels: Sequence[str], warm: Warm, tokenizer: Any) -> Any:
    from lightning_modules.machine.memory import unless_out_of_memory
    from lightning_modules.network import build_network

    network = unless_out_of_memory(lambda: build_network(run, labels, warm, tokenizer))
    if network is None:
        raise Stopped(Ending.infeasible, "the network does not fit into memory")
    return network


def _written(folder: Path, outcome: Outcome, hooks: Hooks) -> Outcome:
    """Write the outcome and return it; one that found no room is that of an interrupted run."""
    from lightning_modules.machine.disk import write_when_room

    try:
        write = partial(write_json, folder / OUTCOME_FILE, outcome.as_dict())
        write_when_room(hooks, write)
    except Stopped as stop:
        if outcome.ending is not Ending.interrupted:
            return replace(outcome, ending=stop.ending, reason=stop.reason)
    return outcome


def _train(run: Run, trainer: Any, tuner: Any, data: Any, ranks: Any) -> tuple[Ending, str]:
    from lightning_modules.machine.memory import free_memory, is_out_of_memory
    from lightning_modules.seed import seeded

    try:
        with ranks as tuner.ranks, seeded(run.seed, "fit"):
            if data.length.num_steps:
                trainer.fit(tuner, data)
            else:
                trainer.validate(tuner, data, verbose=False)
    except Stopped as stop:
        return stop.ending, stop.reason
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        # Of no batch, as when the network goes to the device or a checkpoint is gathered.
        reason = f"memory ran out after step {tuner.record.step}: {_first_line(error)}"
    else:
        if not data.length.num_steps:
            return Ending.finished, "needed no training"
        epochs = data.length.num_steps / data.length.steps_per_epoch
        return Ending.finished, f"trained to its end, epoch {epochs:g}"
    free_memory()
    return Ending.infeasible, reason


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).split("\n")[0]


def lightning_trainer(hardware: Any, callbacks: list[Any], rank: int = 0) -> Any:
    """Return the trainer of one rank, which knows of no other."""
    import pytorch_lightning as pl
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

    # Lightning's own requeueing saves inside a signal handler.
    slurm: Any = [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else None
    return pl.Trainer(
        plugins=slurm,
        accelerator=hardware.device.value,
        devices=[rank] if hardware.device.value == "cuda" else 1,
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


def _review(run: Run, folder: Path, examples: Examples, log: RunLog, hooks: Hooks) -> None:
    """Write the task's tables about the best validation, and log them."""
    from lightning_modules.callback.review import examine
    from lightning_modules.machine.disk import write_when_room

    hooks.alive("examining the best validation")
    tables = partial(examine, folder, run.task, examples)
    _log_tables(log, write_when_room(hooks, tables))


def _log_tables(log: RunLog, tables: Tables) -> None:
    for name, records in tables.items():
        shown = records[:NUM_LOGGED_ROWS] if name in (MISTAKES, GENERATED) else records
        if sum(map(len, shown)) <= NUM_LOGGED_CELLS:
            log.table(f"validation/{name}", shown)


def _close(log: RunLog, outcome: Outcome, hooks: Hooks) -> None:
    hooks.alive("closing the log")
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
    own = [(prefix, member_of(value))] if prefix else []
    dot = f"{prefix}." if prefix else ""
    return own + [
        pair
        for field in fields(value)
        for pair in _flatten(dot + field.name, getattr(value, field.name))
    ]
