"""What a run trains on, and everything that can be checked before its first expensive second."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from lightning_modules.data.base import Corpus, Data
from lightning_modules.error import ConfigError, Problem, UserError, Verbatim
from lightning_modules.model.kind import MEMBERS
from lightning_modules.schema import member_of

if TYPE_CHECKING:
    from lightning_modules.run import Run


@dataclass(frozen=True)
class Material:
    """A run's checked rows and labels; made without loading any model."""

    corpus: Corpus
    labels: tuple[str, ...]


def inspect(run: Run) -> Material:
    """Check everything that can be checked before the first expensive second.

    Raises:
        ConfigError: The data cannot be used, or the model cannot be had; all at once.
    """
    made: list[Material] = []

    def check_data() -> None:
        made.append(material_of(run, run.data.load(run.task)))

    def check_parts() -> None:
        check_fit(run, made[0].corpus if made else None)

    _raise_all((check_data, run.model.check, check_parts))
    return made[0]


def material_of(run: Run, corpus: Corpus) -> Material:
    """Return the rows with their labels; raise UserError where the task does not fit them."""
    labels = run.task.labels(corpus)
    run.task.fitted(corpus, labels)
    return Material(corpus, labels)


def rows_of(run: Run) -> Data:
    """Return what decides the run's rows: how they are batched and cut changes nothing of that."""
    return replace(run.data, batch_size=1, max_length=3)


def check_fit(run: Run, corpus: Corpus | None) -> None:
    """Check that a run's parts fit each other, and its rows if any; read neither data nor weights.

    Raises:
        ConfigError: They do not; all at once.
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
        beside = f" beside {num_virtual} virtual ones" if num_virtual else ""
        longest -= num_virtual
        rule = f"must be <= {longest}, the tokens that {run.model.name} can read{beside}"
        fix = f"Set data.max_length={longest}."
        raise ConfigError(Problem("data.max_length", rule, run.data.max_length, fix))


def _check_task(run: Run) -> None:
    run.task.check(run.model)


def _check_kind(run: Run) -> None:
    kind = run.model.known_kind()
    if kind is not None and kind not in run.task.kinds:
        kinds = " or ".join(each.value for each in run.task.kinds)
        rule = f"task={member_of(run.task)} must have a model of kind {kinds}"
        names = ", ".join(name for each in run.task.kinds for name in MEMBERS[each])
        got = Verbatim(f"{run.model.name}, of kind {kind.value}")
        raise ConfigError(Problem("model", rule, got, f"Those that can: {names}."))


def _check_shares(run: Run) -> None:
    devices = run.trainer.devices
    if run.data.batch_size < devices:
        rule = f"must be >= {devices}, the devices that share a batch"
        fix = f"Set data.batch_size={devices}, or trainer.devices={run.data.batch_size}."
        raise ConfigError(Problem("data.batch_size", rule, run.data.batch_size, fix))


def _check_devices(run: Run) -> None:
    if run.trainer.devices > 1 and not run.strategy.trains:
        rule = (
            f"must be 1, as strategy={member_of(run.strategy)} trains nothing that could be shared"
        )
        raise ConfigError(Problem("trainer.devices", rule, run.trainer.devices))


_CHECKS = (_check_length, _check_kind, _check_shares, _check_task, _check_devices)


def _check_strategy(run: Run, corpus: Corpus | None) -> None:
    run.strategy.check(run.model, run.task)
    if corpus is not None:
        run.strategy.fitted(run.model, run.task, corpus)


def changed_rows() -> Problem:
    """Return the problem of files that are not what they were when training began."""
    fix = "Set the files back, or begin anew under another name."
    return Problem("data", "the rows must be those it began with", Verbatim("changed files"), fix)
