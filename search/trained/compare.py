"""Certify trials that a person names, with as many seeds as they ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lightning_modules.error import ConfigError, Problem
from search.certificate.certificate import Certificate, Rows
from search.config.settings import MAX_SEEDS
from search.plan.certify import rows_of
from search.study.ask import check_trained
from search.study.certify import add, winner_and_other
from search.study.follow import refuse_follow_up
from search.study.study import Study
from search.trained.certify import Say, certify
from search.trained.side import Side

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.trial import FrozenTrial

    Source = tuple[Study, FrozenTrial]


def certificates_of_trials(
    study: Study,
    numbers: Sequence[int],
    num_seeds: int | None,
    other: Study | None,
    work: Callable[[Study], Any],
    say: Say,
) -> list[Certificate]:
    """Train trials and what they are compared with over fresh seeds; return their certificates.

    Args:
        study: The study of the trials.
        numbers: The trials; none for the winner.
        num_seeds: Runs of each; None takes those of the settings.
        other: The study whose winner they are compared with; None takes the default.
        work: Trains the waiting trials of a study.
        say: Prints a line.

    Raises:
        ConfigError: A trial has not finished, there is nothing to compare with, the number of
            seeds cannot be used, or the other study has other rows or another metric.

    """
    for each in (study,) if other is None else (study, other):
        check_trained(each)
        refuse_follow_up(each.plan.name, each.plan.composition)
    num = study.plan.search.settings.certify_seeds if num_seeds is None else num_seeds
    if not 2 <= num <= MAX_SEEDS:
        raise ConfigError(Problem("seeds", f"must be from 2 to {MAX_SEEDS}", num))
    trials = list(_compared(study, numbers, other))
    if other is not None:
        _check_comparable(study, other)
    queued: dict[Path, tuple[Study, list[FrozenTrial]]] = {}
    for pair in trials:
        for source, trial in pair:
            queued.setdefault(source.folder, (source, []))[1].append(trial)
    for source, own in queued.values():
        work(add(source, list({trial.number: trial for trial in own}.values()), num, limited=False))
    sides = [[Side.of(source, trial) for source, trial in pair] for pair in trials]
    return certify(study, [(one, two) for one, two in sides if one and two], say)


def _compared(
    study: Study, numbers: Sequence[int], other: Study | None
) -> Iterator[tuple[Source, Source]]:
    """Yield each trial with the one that it is compared with, each with its study."""
    finished = {trial.number: trial for trial in study.trials if trial.state.name == "COMPLETE"}
    wrong = [number for number in numbers if number not in finished]
    if wrong:
        rule = f"must be finished trials of study {study.plan.name}"
        fix = f"Finished: {', '.join(map(str, finished)) or 'none'}."
        raise ConfigError(Problem("trials", rule, wrong[0], fix))
    best = study.best
    if not numbers and best is None:
        rule = "must have a winner, or trials=[...] must name trials"
        raise ConfigError(Problem("study", rule, study.plan.name))
    for trial in [finished[n] for n in numbers] or ([] if best is None else [best]):
        rival = _rival(study, trial) if other is None else other.best
        if rival is None and other is None:
            rule = f"must have a finished configuration beside trial {trial.number}"
            fix = "Train more trials, or name another study with against=NAME."
            raise ConfigError(Problem("study", rule, study.plan.name, fix))
        if rival is None:
            assert other is not None, "its own rival was found"
            raise ConfigError(Problem("against", "must have a winner", other.plan.name))
        if other is not None and other.folder == study.folder and rival.number == trial.number:
            rule = f"must be a study with another winner than trial {trial.number} itself"
            fix = "Name another study, or leave out against= to compare with the default."
            raise ConfigError(Problem("against", rule, other.plan.name, fix))
        yield (study, trial), (other or study, rival)


def _check_comparable(study: Study, other: Study) -> None:
    """Raise ConfigError if another study has another metric or keeps other rows aside.

    Its models are scored on the test rows of the first one, on which it may have trained.
    """
    metrics = [each.plan.default.task.metric for each in (study, other)]
    if metrics[0] != metrics[1]:
        rule = f"must have the metric of study {study.plan.name}, {metrics[0]}"
        raise ConfigError(Problem("against", rule, metrics[1]))
    own, its = (each.plan.default.data.load(each.plan.default.task) for each in (study, other))
    is_same = own.splits.get("test") == its.splits.get("test")
    if is_same and rows_of(study.plan) is not Rows.test:
        is_same = own.fingerprint == its.fingerprint
    if not is_same:
        rule = f"must be a study with the rows that study {study.plan.name} is certified on"
        fix = "Begin it again with the same data, data.split_seed and data.test_fraction."
        raise ConfigError(Problem("against", rule, other.plan.name, fix))


def _rival(study: Study, trial: FrozenTrial) -> FrozenTrial | None:
    """Return the default, or what the default itself is compared with."""
    default = study.ranking.default
    if default is not None and default.number != trial.number:
        return default
    pair = winner_and_other(study) or ()
    return next((each for each in pair if each.number != trial.number), None)
