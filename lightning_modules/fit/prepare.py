"""A run before its first step: checked, with its tokenizer, batches and network.

Nothing here depends on which task, strategy or model is trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from lightning_modules.batch.micro import Limit
from lightning_modules.cache import Cache
from lightning_modules.callback.checkpoint_file import Checkpoint, load_checkpoint
from lightning_modules.callback.memory import PeakMemory
from lightning_modules.check import CheckedRows, check_fit, load_rows
from lightning_modules.datamodule import TextDataModule
from lightning_modules.export.rehearse import rehearse_export
from lightning_modules.feature import use_features
from lightning_modules.folder import (
    FORM_FILE,
    LABELS_FILE,
    STATE_FILE,
    TASK_FILE,
    TOKENIZER_FOLDER,
)
from lightning_modules.hooks import Hooks
from lightning_modules.launch.leader import Followers
from lightning_modules.machine.disk import write_when_free
from lightning_modules.machine.file import write_json
from lightning_modules.machine.hardware import Hardware, choose_hardware
from lightning_modules.machine.memory import unless_out_of_memory
from lightning_modules.model.attention import attention_notes
from lightning_modules.model.plain import spelled_notes
from lightning_modules.model.state import count_parameters
from lightning_modules.network import build_network, build_tokenizer
from lightning_modules.outcome import Ending, Record, Stopped
from lightning_modules.reference import read_reference, reference_of, write_reference
from lightning_modules.run import Run
from lightning_modules.task.base import REFERENCE
from lightning_modules.text.template import own_texts


@dataclass(frozen=True)
class Start:
    """A run that passed its checks, and the checkpoint that it starts from."""

    run: Run
    folder: Path
    hooks: Hooks
    cache: Cache
    checked: CheckedRows
    hardware: Hardware
    followers: Followers
    memory: PeakMemory
    checkpoint: Checkpoint | None
    record: Record


@dataclass(frozen=True)
class Prepared:
    """A run with its network and its batches."""

    start: Start
    run: Run
    tokenizer: PreTrainedTokenizerBase
    data: TextDataModule
    network: nn.Module
    num_parameters: tuple[int, int]
    reference: Mapping[str, Tensor]


def start_of(
    run: Run, folder: Path, hooks: Hooks, cache: Cache, checked: CheckedRows | None
) -> Start:
    """Check a run, fit its task to the rows, and choose the hardware; load no weights.

    Args:
        run: The run.
        folder: Its folder, which may hold a checkpoint.
        hooks: Receive its progress.
        cache: Objects kept in memory between runs.
        checked: Its rows; None loads them.

    """
    if checked is None:
        hooks.heartbeat("loading the data")
        checked = load_rows(run, cache)
    check_fit(run, checked.corpus)
    task = run.task.fit_to_model(run.model).fit_to_rows(checked.corpus, checked.labels)
    run = replace(run, task=task)
    num_devices = run.trainer.devices
    hardware = choose_hardware(run.trainer.device, run.trainer.precision, num_devices)
    run = replace(run, model=run.model.attending(hardware, run.data.max_length))
    hardware.use_tensor_cores()  # also for what is computed before the training
    followers = cache.get_or_make(("followers", num_devices), lambda: Followers(num_devices))
    followers.start()  # they import while this process prepares
    memory = PeakMemory(hardware.device)
    checkpoint = load_checkpoint(folder, hooks.warn)
    return Start(
        run,
        folder,
        hooks,
        cache,
        checked,
        hardware,
        followers,
        memory,
        checkpoint,
        checkpoint.record if checkpoint else Record(),
    )


def prepare(start: Start) -> Prepared:
    """Make the tokenizer and the batches; load, adapt and count the network.

    Writes the labels, and what task, strategy and tokenizer have found in the rows, to the run's
    folder.

    Raises:
        Stopped: The network does not fit into memory, or the run was interrupted.

    """
    checked, hooks = start.checked, start.hooks
    run = _fit_to_rows(start)
    tokenizer = _tokenizer(start, run)
    splits, labels, step = checked.corpus.splits, checked.labels, start.record.step
    data = write_when_free(
        hooks,
        lambda: TextDataModule(run, splits, labels, tokenizer, step, hooks, start.cache),
    )
    if run.strategy.trains_tokenizer or run.model.light_tokenizer() is None:  # else it was said
        for note in spelled_notes(own_texts(splits["train"]), tokenizer, "training rows"):
            hooks.warn(note)
    for note in run.task.encoding_notes(splits["train"], tokenizer):
        hooks.warn(note)
    hooks.heartbeat("loading the model")
    network = unless_out_of_memory(
        lambda: build_network(run, labels, start.cache, tokenizer, start.hardware)
    )
    if network is None:
        raise Stopped(Ending.infeasible, "the network does not fit into memory")
    tried = ("export", run.model, run.strategy.cache_key, run.task.cache_key)
    start.cache.get_or_make(tried, lambda: rehearse_export(network, tokenizer, run.model.name))
    said = set(run.model.notes())  # before the first trial
    for note in attention_notes(network, getattr(run.model, "attention", None)):
        if note not in said:
            hooks.warn(note)
    counts = count_parameters(network)
    hooks.on_network(*counts)
    values = _reference(start, run, network, data, tokenizer)
    data.add_column(REFERENCE, values)
    use_features(data, run, network, start.hardware, start.cache, hooks)
    start.record.frozen_seconds = data.frozen_seconds
    return Prepared(start, run, tokenizer, data, network, counts, values)


def _reference(
    start: Start,
    run: Run,
    network: nn.Module,
    data: TextDataModule,
    tokenizer: PreTrainedTokenizerBase,
) -> dict[str, Tensor]:
    """Return what the untouched network says of each example; nothing if that is not needed."""
    if not run.task.needs_reference or run.strategy.keeps_base:
        return {}
    if (kept := read_reference(start.folder)) is not None:
        return kept
    hooks = start.hooks

    def heartbeat(doing: str) -> None:
        hooks.heartbeat(f"computing the reference, {doing}")
        if hooks.interrupted():
            raise Stopped(Ending.interrupted, "interrupted before the first step")

    limit = Limit(tokens=run.trainer.first_tokens)
    values = {
        split: reference_of(run.task, network, part, tokenizer, start.hardware, limit, heartbeat)
        for split, part in data.examples.items()
    }
    write_when_free(hooks, lambda: write_reference(start.folder, values))
    return values


def _fit_to_rows(start: Start) -> Run:
    """Fit the run's strategy to the rows, write its and the task's state, and return the run."""
    run = start.run
    strategy = run.strategy.fit_to_rows(run.model, run.task, start.checked.corpus)
    for name, state in ((STATE_FILE, strategy.state), (TASK_FILE, run.task.state)):
        if state:
            write = partial(write_json, start.folder / name, dict(state), waits_for_name=False)
            write_when_free(start.hooks, write)
    return replace(run, strategy=strategy)


def _tokenizer(start: Start, run: Run) -> PreTrainedTokenizerBase:
    """Return the run's tokenizer; write the labels, and a tokenizer trained on these rows."""
    folder, hooks, checked = start.folder, start.hooks, start.checked
    form = run.task.form_of(checked.corpus.splits["train"])
    for name, value in ((LABELS_FILE, list(checked.labels)), (FORM_FILE, form)):
        if value is not None:
            write = partial(write_json, folder / name, value, waits_for_name=False)
            write_when_free(hooks, write)
    hooks.heartbeat("making the tokenizer")
    tokenizer = build_tokenizer(run, checked.corpus.splits["train"], start.cache)
    if run.strategy.trains_tokenizer:
        write_when_free(hooks, lambda: tokenizer.save_pretrained(folder / TOKENIZER_FOLDER))
    return tokenizer
