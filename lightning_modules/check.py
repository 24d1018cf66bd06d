"""All checks of a run that come before its first expensive second, and the checked rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from lightning_modules.cache import Cache
from lightning_modules.error import ConfigError, DataError, Problem, UserError, Verbatim
from lightning_modules.machine.store import TOKENIZED, check_cache
from lightning_modules.model.compiled import has_compiler
from lightning_modules.model.light import NotLight
from lightning_modules.rows.corpus import Corpus
from lightning_modules.schema import member_of

if TYPE_CHECKING:
    from lightning_modules.run import Run


NUM_TRIED = 200
"""Rows that are tokenized to check a run before it starts."""


@dataclass(frozen=True)
class CheckedRows:
    """A run's checked rows and labels; no model is loaded to make them."""

    corpus: Corpus
    labels: tuple[str, ...]


def check_run(run: Run, corpus: Corpus | None = None) -> CheckedRows:
    """Check everything that can be checked before the first expensive second.

    `corpus` has the run's rows if they have been read.

    Raises:
        ConfigError: The data or the model cannot be used; lists all problems at once.
    """
    checked: list[CheckedRows] = []

    def check_data() -> None:
        checked.append(checked_rows(run, run.data.load(run.task) if corpus is None else corpus))

    def check_model() -> None:
        run.model.check()
        if run.strategy.reads_weights:
            run.model.check_weights()

    def check_parts() -> None:
        check_fit(run, checked[0].corpus if checked else None)

    _raise_all((partial(check_cache, TOKENIZED), check_data, check_model, check_parts))
    check_tokens(run, checked[0])
    return checked[0]


def check_tokens(run: Run, checked: CheckedRows) -> None:
    """Check that the model reads the tokens of the rows, and that its tokenizer can write them.

    Makes examples of the first rows by the code that trains, without transformers or torch. If the
    tokenizer is not on this machine, or `tokenizers` cannot read it, training reports the same.

    Raises:
        UserError: They do not fit together.
    """
    rows = checked.corpus.splits["train"]
    some = rows[:NUM_TRIED]
    tokenizer: Any = run.strategy.light_tokenizer(run.model, run.task, some)
    if tokenizer is None:
        return
    if not run.strategy.trains_tokenizer:
        run.model.check_tokens(tokenizer, rows)
    strategy = run.strategy.fit_to_rows(run.model, run.task, checked.corpus)
    prepared = strategy.prepare(some, tokenizer)
    with suppress(NotLight):  # a task that counts on what only transformers' tokenizers have
        run.task.encode_training(prepared, tokenizer, run.data.max_length, checked.labels)


def checked_rows(run: Run, corpus: Corpus) -> CheckedRows:
    """Return the rows with their labels; raise UserError if they do not fit the task."""
    labels = run.task.labels(corpus)
    run.task.fit_to_rows(corpus, labels)
    run.task.try_metric(corpus.splits["validation"], labels)
    return CheckedRows(corpus, labels)


def load_rows(run: Run, cache: Cache) -> CheckedRows:
    """Return the run's checked rows, from the cache if an earlier run loaded the same rows."""
    key = ("rows", run.data.rows_key, run.task.cache_key, run.model)
    return cache.get_or_make(key, lambda: check_run(run))


def check_fit(run: Run, corpus: Corpus | None) -> None:
    """Check that a run's parts fit together, and fit `corpus` if given.

    Reads neither data nor weights.

    Raises:
        ConfigError: They do not; lists all problems at once.
    """
    _raise_all((*(partial(check, run) for check in _CHECKS), partial(_check_strategy, run, corpus)))


def _raise_all(checks: Iterable[Callable[[], None]]) -> None:
    problems: list[Problem] = []
    for check in checks:
        try:
            check()
        except UserError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError(problems)


def _check_length(run: Run) -> None:
    longest, num_virtual = run.model.max_length, run.strategy.num_virtual_tokens
    if longest is not None and run.data.max_length > longest - num_virtual:
        virtual = f" besides {num_virtual} virtual tokens" if num_virtual else ""
        longest -= num_virtual
        rule = f"must be <= {longest}, the most tokens that {run.model.name} can read{virtual}"
        fix = f"Set data.max_length={longest}."
        raise ConfigError(Problem("data.max_length", rule, run.data.max_length, fix))


def _check_task(run: Run) -> None:
    run.task.check(run.model)


def _check_kind(run: Run) -> None:
    kind = run.model.known_kind()
    if kind is not None and kind not in run.task.kinds:
        kinds = " or ".join(each.value for each in run.task.kinds)
        rule = f"task={member_of(run.task)} needs a model of kind {kinds}"
        got = Verbatim(f"{run.model.name}, of kind {kind.value}")
        fix = "Choose another model; finesweep sweep --help lists the kind of each."
        raise ConfigError(Problem("model", rule, got, fix))


def _check_shares(run: Run) -> None:
    devices = run.trainer.devices
    if run.data.batch_size < devices:
        rule = f"must be >= {devices}, the number of devices that share a batch"
        fix = f"Set data.batch_size={devices}, or trainer.devices={run.data.batch_size}."
        raise ConfigError(Problem("data.batch_size", rule, run.data.batch_size, fix))


def _check_devices(run: Run) -> None:
    if run.trainer.devices > 1 and not run.strategy.trains:
        rule = f"must be 1, because strategy={member_of(run.strategy)} does not train"
        raise ConfigError(Problem("trainer.devices", rule, run.trainer.devices))


def _check_recomputing(run: Run) -> None:
    if run.trainer.gradient_checkpointing is True and not run.strategy.can_recompute:
        rule = "must be auto or false, because the layers read trained keys and values"
        where, fix = "trainer.gradient_checkpointing", "Set trainer.gradient_checkpointing=false."
        raise ConfigError(Problem(where, rule, Verbatim("true"), fix))


def _check_compiler(run: Run) -> None:
    if run.trainer.compile is True and run.strategy.trains and not has_compiler():
        rule = "must be false or auto on a machine without a C++ compiler"
        fix = "Install g++, or set trainer.compile=false."
        raise ConfigError(Problem("trainer.compile", rule, Verbatim("true"), fix))


def _check_optimizer(run: Run) -> None:
    if run.strategy.trains:
        run.optimizer.check()


_CHECKS = (
    _check_length,
    _check_kind,
    _check_shares,
    _check_task,
    _check_devices,
    _check_recomputing,
    _check_optimizer,
    _check_compiler,
)


def _check_strategy(run: Run, corpus: Corpus | None) -> None:
    run.strategy.check(run.model, run.task)
    if corpus is not None:
        run.strategy.fit_to_rows(run.model, run.task, corpus)


def check_same_rows(fingerprint: str, expected: str) -> None:
    """Raise DataError if the rows are not the ones that training started with."""
    if fingerprint != expected:
        rule = "the rows must be the ones that training started with"
        fix = "Restore the files, or use a new name."
        raise DataError(Problem("data", rule, Verbatim("changed files"), fix))
