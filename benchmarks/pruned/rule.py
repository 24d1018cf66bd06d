"""The rules that end trials: this project's pruners, and Optuna's as they are shipped."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import optuna
from pruned.curve import Curve

from search.pruner.base import Pruner
from search.pruner.progress import METRIC, Mark


class Judge(Protocol):
    """A rule's state in one study."""

    def begin(self, number: int) -> None:
        """Hear that a trial begins."""

    def stops(self, number: int, seen: Sequence[int], num_finished: int) -> bool:
        """Return whether a trial ends after a validation.

        Args:
            number: The trial.
            seen: How many validations each trial has had; 0 for those that wait.
            num_finished: Trials that ran to their end.

        """

    def end(self, number: int, *, is_pruned: bool) -> None:
        """Hear that a trial has ended."""


@dataclass(frozen=True)
class Rule:
    """A rule, and how its judge of a study is made from the study's curves, by trial number.

    Attributes:
        name: The rule's name.
        judge: Makes the judge.
        is_slow: Whether its replay takes long, so that few studies must do.

    """

    name: str
    judge: Callable[[Sequence[Curve]], Judge]
    is_slow: bool = False


class OurJudge:
    """A pruner of this project."""

    def __init__(self, pruner: Pruner, curves: Sequence[Curve]) -> None:
        self._pruner = pruner
        self._curves = curves

    def begin(self, number: int) -> None:
        pass

    def stops(self, number: int, seen: Sequence[int], num_finished: int) -> bool:
        progress = [curve.progress(each, seen[each]) for each, curve in enumerate(self._curves)]
        others = (each for each in progress if each.curve and each.number != number)
        trial = progress[number]
        return self._pruner.reason_to_stop(trial, seen[number], others, num_finished) is not None

    def end(self, number: int, *, is_pruned: bool) -> None:
        pass


class BeforeJudge:
    """ASHA as it was: the best third by the metric after as many examples continues."""

    def __init__(self, curves: Sequence[Curve]) -> None:
        self._curves = curves

    def begin(self, number: int) -> None:
        pass

    def stops(self, number: int, seen: Sequence[int], num_finished: int) -> bool:
        trial, is_rung = self._curves[number], seen[number] in (1, 3, 9, 27, 81)
        if num_finished < 4 or not is_rung or seen[number] == len(trial.marks):
            return False
        now = trial.marks[seen[number] - 1]
        rivals = [
            mark.values[METRIC]
            for each, other in enumerate(self._curves)
            for mark in other.marks[: seen[each]]
            if each != number and mark.examples == now.examples and _alike(trial, other, mark)
        ]
        rank = 1 + sum(rival > now.values[METRIC] for rival in rivals)
        return rank > max(1, (len(rivals) + 1) // 3)

    def end(self, number: int, *, is_pruned: bool) -> None:
        pass


def _alike(one: Curve, other: Curve, mark: Mark) -> bool:
    """Return whether neither run has decayed its learning rate, or both are equally long."""
    both_stable = mark.examples <= min(one.stable_examples, other.stable_examples)
    return both_stable or one.num_examples == other.num_examples


class OptunaJudge:
    """A pruner of Optuna, which gets the metric at the number of examples."""

    def __init__(self, make: Callable[[], Any], curves: Sequence[Curve]) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._curves = curves
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study = optuna.create_study(
                direction="maximize",
                pruner=make(),
                sampler=optuna.samplers.RandomSampler(seed=0),
                study_name="replayed",  # Hyperband draws a trial's bracket from it
            )
        self._trials: dict[int, optuna.Trial] = {}

    def begin(self, number: int) -> None:
        self._trials[number] = self._study.ask()

    def stops(self, number: int, seen: Sequence[int], num_finished: int) -> bool:
        trial, mark = self._trials[number], self._curves[number].marks[seen[number] - 1]
        trial.report(mark.values[METRIC], mark.examples)
        if seen[number] == len(self._curves[number].marks):
            return False
        with warnings.catch_warnings():  # runs of unlike lengths: Wilcoxon ignores what is longer
            warnings.simplefilter("ignore", UserWarning)
            return trial.should_prune()

    def end(self, number: int, *, is_pruned: bool) -> None:
        trial = self._trials[number]
        if is_pruned:
            self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(trial, max(m.values[METRIC] for m in self._curves[number].marks))


def ours(name: str, pruner: Pruner) -> Rule:
    """Return a rule by a pruner of this project."""
    return Rule(name, lambda curves: OurJudge(pruner, curves))


def stock(name: str, make: Callable[[], Any]) -> Rule:
    """Return a rule by a pruner of Optuna, which keeps a state and so is made for each study."""
    return Rule(name, lambda curves: OptunaJudge(make, curves), is_slow=True)
