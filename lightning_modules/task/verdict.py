"""The verdict on a training whose scores are no better than a guess that reads no row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from lightning_modules.outcome import NOT_LEARNT
from lightning_modules.task.own_metric import is_own

if TYPE_CHECKING:
    from lightning_modules.task.base import Examples, Task


def unlearnt(task: Task, metrics: Mapping[str, float], examples: Examples) -> str | None:
    """Return the verdict on scores that are no better than the constant guess, else None.

    A metric that counts right answers may stay there although the probabilities improve.
    """
    guess = None if is_own(task.metric) else task.constant_guess(examples)
    value = metrics[task.metric]
    if guess is None or task.beats(value, guess):
        return None
    own, other = f"{value:.4g}", f"{guess.score:.4g}"
    found = f"its {task.metric} of {own} is no better than the {other} of {guess.guess}"
    if own == other:
        found = f"its {task.metric} of {own} is that of {guess.guess}"
    if "log_loss" in metrics and task.metric != "log_loss":
        by_loss = replace(task, metric="log_loss")
        shares = by_loss.constant_guess(examples)
        if shares is not None and by_loss.beats(metrics["log_loss"], shares):
            return (
                f"has learnt too little to change its answers: {found}, although its log_loss "
                f"of {metrics['log_loss']:.4g} is below the {shares.score:.4g} of "
                f"{shares.guess}; try more epochs or a higher learning rate"
            )
    return f"{NOT_LEARNT}: {found}"
