"""One training, from a typed config to its outcome: check, prepare, train, review, finish.

Nothing here depends on which task, strategy or model is trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from lightning_modules.batch.passes import Alone
from lightning_modules.cache import Cache
from lightning_modules.callback.best import BestFiles, load_best, load_observed
from lightning_modules.callback.checkpoint import Checkpointing
from lightning_modules.callback.review import review
from lightning_modules.callback.speed import Speed, throughput
from lightning_modules.callback.step import Steps
from lightning_modules.callback.validation import Validation
from lightning_modules.check import CheckedRows
from lightning_modules.datamodule import TextDataModule
from lightning_modules.fit.prepare import Prepared, Start, prepare, start_of
from lightning_modules.folder import OUTCOME_FILE
from lightning_modules.guard.base import Guard
from lightning_modules.guard.score import Guarded, logged_guards
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity, Logs, RunLog
from lightning_modules.machine.disk import write_when_free
from lightning_modules.machine.file import write_json
from lightning_modules.machine.memory import free_memory, is_out_of_memory
from lightning_modules.model.held import holds
from lightning_modules.model.state import restore_state
from lightning_modules.module import FineTuner
from lightning_modules.outcome import (
    UNTRAINED,
    Ending,
    GuardScore,
    Outcome,
    RowScores,
    Stopped,
    fit_verdict,
)
from lightning_modules.run import Run
from lightning_modules.seed import seeded
from lightning_modules.task.base import GENERATED, MISTAKES, Tables
from lightning_modules.task.jackknife import key_of, row_scores
from lightning_modules.task.select import chosen_by
from lightning_modules.task.verdict import unlearnt
from lightning_modules.trainer import lightning_trainer

NUM_LOGGED_ROWS = 20
# W&B takes 15 microseconds per cell: the confusion of 150 labels would cost each trial 0.3 s.
NUM_LOGGED_CELLS = 5000


def fit(
    run: Run,
    folder: Path,
    identity: Identity,
    hooks: Hooks | None = None,
    cache: Cache | None = None,
    *,
    checked: CheckedRows | None = None,
    guards: Sequence[Guard] = (),
    logs: Logs | None = None,
    passes: Alone | None = None,
) -> Outcome:
    """Train one run; resume from the checkpoint in `folder` if there is one.

    Writes the files named in `lightning_modules.folder`, and the task's tables about the best
    validation (`mistakes.jsonl`, ...). The caller may delete the checkpoints once it has stored
    the outcome. If the disk is full, it waits for space.

    Args:
        run: The run.
        folder: An existing folder for its files.
        identity: Its name in the log.
        hooks: Receive its progress and may stop it; None lets it run to the end.
        cache: Objects kept in memory between runs; None keeps nothing.
        checked: The rows to train on: those from `check_run`, or part of them; None loads them.
        guards: Scored at the end with the best validation's weights if the run finishes.
        logs: Where the run's log is opened; None starts and closes them with the run.
        passes: How the passes of its steps go through its network; None passes them alone.

    Raises:
        UserError: The data or the model cannot be used.

    """
    start = start_of(run, folder, hooks or Hooks(), cache or Cache(), checked)
    try:
        prepared = prepare(start)
    except Stopped as stop:
        return _write(start, _outcome(start, stop.ending, stop.reason, (0, 0)))
    with _started(logs, start, identity) as opened:
        return _train_and_review(prepared, identity, guards, opened, passes or Alone())


@contextmanager
def _started(logs: Logs | None, start: Start, identity: Identity) -> Iterator[Logs]:
    """Yield the caller's logs, or the run's own, which are closed at the end."""
    if logs is not None:
        yield logs
        return
    own = start.run.logger.start(identity.folder)
    try:
        yield own
    finally:
        for text in own.close(in_a_hurry=start.hooks.interrupted()) or own.unsent():
            start.hooks.warn(text)


def _train_and_review(
    prepared: Prepared,
    identity: Identity,
    guards: Sequence[Guard],
    logs: Logs,
    passes: Alone,
) -> Outcome:
    start = prepared.start
    log = _open_log(prepared, identity, logs)
    guarded = _guarded(prepared, guards)
    scores: tuple[GuardScore, ...] = ()
    try:
        untouched = guarded.untouched()
        files = BestFiles(start.folder, start.hooks)
        ending, reason = _train(prepared, log, files, passes)
        if start.record.best is not None and ending is not Ending.interrupted:
            files.write()
            _review(prepared, log)
        if guards and ending is Ending.finished:
            scores = guarded.scores(_best_network(prepared), untouched)
    except Stopped as stop:  # interrupted while the tables waited for disk space
        ending, reason = stop.ending, stop.reason
    except BaseException:
        log.finish({"ending": Ending.failed.value})
        raise
    return _finish(prepared, log, ending, reason, scores)


def _open_log(prepared: Prepared, identity: Identity, logs: Logs) -> RunLog:
    start = prepared.start
    start.hooks.heartbeat("opening the log")
    config = {**start.run.flat(), "num_trainable": prepared.num_parameters[0]}
    return logs.open(identity, config, start.hooks.warn)


def _train(prepared: Prepared, log: RunLog, files: BestFiles, passes: Alone) -> tuple[Ending, str]:
    """Train; return how it ended, and the reason in words."""
    start, run, data = prepared.start, prepared.run, prepared.data
    held = ", frozen weights in bf16" if holds(prepared.network) else ""
    start.hooks.on_train_start(*_lengths(run, data), f"{start.hardware}{held}")
    tuner = FineTuner(
        run,
        prepared.network,
        data.length,
        data.validation,
        data.validation_batches,
        start.record,
        start.hooks,
        passes,
    )
    trainer = lightning_trainer(start.hardware, _callbacks(prepared, log, files))
    group = start.followers.lead(
        run,
        start.hardware,
        start.checked,
        prepared.tokenizer,
        start.record.step,
        prepared.reference,
    )
    start.hooks.heartbeat("starting to train")
    try:
        with group as tuner.rank, seeded(run.seed, "fit"):
            if data.length.num_steps:
                trainer.fit(tuner, data)
            else:
                trainer.validate(tuner, data, verbose=False)
    except Stopped as stop:
        return stop.ending, stop.reason
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        # Outside any batch, e.g. when the network moves to the device or a checkpoint is made.
        first_line = (str(error) or type(error).__name__).split("\n")[0]
        reason = f"out of memory after step {tuner.record.step}: {first_line}"
    else:
        if not data.length.num_steps:
            return Ending.finished, "needed no training"
        epochs = data.length.num_steps / data.length.steps_per_epoch
        return Ending.finished, f"trained to the end, epoch {epochs:g}"
    free_memory()
    return Ending.infeasible, reason


def _lengths(run: Run, data: TextDataModule) -> tuple[int, int]:
    """Return how many training examples the run sees, and how many a longer run shares with it."""
    length = data.length
    if not length.num_steps:
        return 0, 0
    num_examples = round(data.num_train * length.num_steps / length.steps_per_epoch)
    return num_examples, num_examples * run.schedule.stable_steps(length) // length.num_steps


def _callbacks(prepared: Prepared, log: RunLog, files: BestFiles) -> list[Any]:
    start, data, trainer = prepared.start, prepared.data, prepared.run.trainer
    steps = data.length.validation_steps(trainer.validations_per_epoch)
    speed = Speed()
    checkpointing = Checkpointing(files, trainer, start.checkpoint, speed, start.hooks)
    return [
        start.memory,
        checkpointing,
        speed,
        Steps(log, speed),
        Validation(files, steps, data.num_train, log, checkpointing, start.hooks),
    ]


def _review(prepared: Prepared, log: RunLog) -> None:
    """Write the task's tables about the best validation, and log them."""
    start = prepared.start
    start.hooks.heartbeat("reviewing the best validation")
    write = partial(review, start.folder, prepared.run.task, prepared.data.validation)
    _log_tables(log, write_when_free(start.hooks, write))


def _log_tables(log: RunLog, tables: Tables) -> None:
    for name, records in tables.items():
        shown = records[:NUM_LOGGED_ROWS] if name in (MISTAKES, GENERATED) else records
        if sum(map(len, shown)) <= NUM_LOGGED_CELLS:
            log.table(f"validation/{name}", shown)


def _guarded(prepared: Prepared, guards: Sequence[Guard]) -> Guarded:
    start, run = prepared.start, prepared.run
    labels, tokenizer = start.checked.labels, prepared.tokenizer
    return Guarded(run, guards, labels, tokenizer, start.hardware, start.cache, start.hooks)


def _best_network(prepared: Prepared) -> nn.Module:
    """Return the run's network with the weights of the best validation."""
    best = load_best(prepared.start.folder)
    assert best is not None, "a finished run has been validated"
    restore_state(prepared.network, best.weights)
    # A validation that ended the run left it in evaluation mode, in which modules may keep what
    # they computed of its last weights.
    return prepared.network.train()


def _finish(
    prepared: Prepared, log: RunLog, ending: Ending, reason: str, guards: Sequence[GuardScore]
) -> Outcome:
    """Close the log; write and return the outcome."""
    start = prepared.start
    outcome = _outcome(start, ending, reason, prepared.num_parameters)
    rate, mfu = throughput(start.record, prepared.network, start.hardware)
    outcome = replace(outcome, tokens_per_second=rate, mfu=mfu, guards=guards)
    if outcome.best is not None and ending is not Ending.interrupted:
        outcome = replace(outcome, verdict=_verdict(prepared))
        if ending is Ending.finished:
            scores, chosen_scores = _row_scores(prepared)
            outcome = replace(outcome, row_scores=scores, chosen_scores=chosen_scores)
    start.hooks.heartbeat("closing the log")
    best: Mapping[str, Any] = outcome.best.metrics if outcome.best else {}
    log.finish(
        {
            "ending": outcome.ending.value,
            "reason": outcome.reason,
            "verdict": outcome.verdict,
            "seconds": outcome.seconds,
            "tokens_per_second": outcome.tokens_per_second,
            "mfu": outcome.mfu,
            "peak_memory_gib": outcome.peak_memory_gib,
            "gradient_norm": outcome.gradient_norm,
            **{f"best/{name}": value for name, value in best.items()},
            **({"best/epoch": outcome.best.epoch} if outcome.best else {}),
            **logged_guards(outcome.guards),
        }
    )
    return _write(start, outcome)


def _row_scores(prepared: Prepared) -> tuple[RowScores | None, RowScores | None]:
    """Return what the validation rows contribute to the metric, and to what chose the epoch."""
    start, task = prepared.start, prepared.run.task
    start.hooks.heartbeat("computing the noise of the best validation")
    observed, validation = load_observed(start.folder), prepared.data.validation
    rows = validation.rows  # kept beside the key, or other rows could get their id
    named = ("key of rows", id(rows))
    key, _ = start.cache.get_or_make(named, lambda: (key_of(rows), rows))
    scores = row_scores(task, observed, validation, key)
    name = chosen_by(prepared.run.trainer.select, task)[0]
    if name == task.metric:
        return scores, None
    return scores, row_scores(replace(task, metric=name), observed, validation, key)


def _verdict(prepared: Prepared) -> str:
    """Return in words how well the run fits, by its curve and its best scores."""
    record, run = prepared.start.record, prepared.run
    if not run.strategy.trains:
        return UNTRAINED
    assert record.best is not None
    found = unlearnt(run.task, record.best.metrics, prepared.data.validation)
    return fit_verdict(record.points, found)


def _outcome(start: Start, ending: Ending, reason: str, num_parameters: tuple[int, int]) -> Outcome:
    record, hardware = start.record, start.hardware
    return Outcome(
        ending=ending,
        reason=reason,
        best=record.best if any(num_parameters) else None,
        points=tuple(record.points),
        seconds=record.seconds,
        num_trainable=num_parameters[0],
        num_parameters=num_parameters[1],
        hardware=str(hardware),
        devices=hardware.devices,
        num_threads=hardware.num_threads,
        verdict=fit_verdict(record.points) if start.run.strategy.trains else UNTRAINED,
        memory_bytes=start.memory.num_bytes,
        micro_batch_tokens=record.micro_batch_tokens,
        gradient_norm=record.gradient_norm,
        scoring_seconds=_scoring_seconds(start),
    )


def _scoring_seconds(start: Start) -> float | None:
    splits, record = start.checked.corpus.splits, start.record
    if record.validation_seconds is None or "test" not in splits:
        return None
    seconds = record.validation_seconds + record.frozen_seconds  # scoring runs the whole network
    return seconds * len(splits["test"]) / len(splits["validation"])


def _write(start: Start, outcome: Outcome) -> Outcome:
    """Write and return the outcome; return an interrupted one if the disk stayed full."""
    try:
        write = partial(write_json, start.folder / OUTCOME_FILE, outcome.as_dict())
        write_when_free(start.hooks, write)
    except Stopped as stop:
        if outcome.ending is not Ending.interrupted:
            return replace(outcome, ending=stop.ending, reason=stop.reason)
    return outcome
