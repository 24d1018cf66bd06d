"""Plain text as a guard: how well a network that writes still predicts it.

The texts are joined to one stream of tokens, which is cut into blocks of `data.max_length`. A block
is predicted from its own start on, so the loss falls with the length of the blocks; the trained and
the untouched model are scored on the same blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.guard.rows import LOSS, LoadedRows, check_metric, limited
from lightning_modules.rows.embedded import NEUTRAL
from lightning_modules.schema import member_of
from lightning_modules.task.generation import Generation, Packing
from lightning_modules.task.metric.answer import ANSWER_METRICS
from lightning_modules.text.answered import Conversations

if TYPE_CHECKING:
    from lightning_modules.guard.base import Guard
    from lightning_modules.rows.corpus import Row
    from lightning_modules.run import Run
    from lightning_modules.task.base import Task

FORGETTING = "forgetting"


@dataclass(frozen=True)
class Neutral:
    """The neutral text that ships with finesweep."""

    def load(self, run: Run, labels: Sequence[str], guard: Guard) -> LoadedRows:
        if not writes_text(run.task):
            rule = f"{FORGETTING} needs a decoder that writes text, as with task=generation"
            got = Verbatim(f"task={member_of(run.task)}")
            fix = "Guard a metric of this task on other rows: {data: old.csv, metric: ...}."
            raise ConfigError(Problem("data", rule, got, fix))
        paragraphs = NEUTRAL.read_text(encoding="utf-8").split("\n\n")
        return language_rows([{"text": each.strip()} for each in paragraphs], guard)


def writes_text(task: Task) -> bool:
    """Return whether the task's networks are language models."""
    return task.auto_class == Generation.auto_class


def language_rows(rows: Sequence[Row], guard: Guard) -> LoadedRows:
    """Return texts to score as plain text; raise ConfigError if the metric cannot."""
    if guard.metric in ANSWER_METRICS:
        rule = f"{guard.metric} must have answers to compare with"
        fix = "Guard loss or perplexity, or rows with the run's own columns."
        raise ConfigError(Problem("metric", rule, Verbatim("plain text"), fix))
    check_metric(Generation, guard.metric, guard.bound)
    task = Generation(
        metric="nats_per_token" if guard.metric == LOSS else guard.metric,
        text="text",
        text_pair=None,
        label=None,
        packing=Packing.stream,
        template="{text}",
        system=None,
        chat_template="",
        conversations=Conversations.whole,
        pack_answers=False,
        max_new_tokens=1,
        num_generated=0,
        temperature=0.0,
        final_answer=None,
    )
    return LoadedRows(task, limited(rows, guard.max_rows), is_own=False)
