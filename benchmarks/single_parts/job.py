"""A run that both sides train, as one line of JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Job:
    """What a side is asked for.

    Attributes:
        name: The case (`single_parts.case`).
        num_rows: Its training rows.
        words: Overrides of finesweep's run.
        model: The folder of the model.
        auto_class: The class of transformers that loads it for the task.
        task_type: PEFT's name of the task.
        num_labels: Classes; 0 if the task has none.
        strategy: What is trained: `lora`, `full` or `feature_extraction`.
        rank: Of LoRA; else None.
        alpha: Likewise.
        lr: The learning rate.
        batch_size: Examples of a step.
        epochs: Passes over the training rows.
        examples: The folder of the rows' tokens.
        bf16: Whether it computes in bf16.

    """

    name: str
    num_rows: int
    words: tuple[str, ...]
    model: str
    auto_class: str
    task_type: str
    num_labels: int
    strategy: str
    rank: int | None
    alpha: float | None
    lr: float
    batch_size: int
    epochs: int
    examples: str
    bf16: bool

    def line(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, line: str) -> Job:
        """Return what a line says."""
        values = json.loads(line)
        return cls(**{**values, "words": tuple(values["words"])})
