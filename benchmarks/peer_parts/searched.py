"""Trial after trial of Hugging Face's Trainer in one process, as its search with Optuna runs them.

    python -m peer_parts.searched MODEL TRAIN VALIDATION '{"strategy": "lora", "clever": true}'

As documented: `peer_parts/documented.py`, with a new model for each trial. The clever one computes
in bf16 where the processor has units for it, groups batches by length, and writes no checkpoints.
Writes what each trial took, see `finetune_parts.marks`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from finetune_parts.cost import BATCH_SIZES
from finetune_parts.marks import Marks
from peer_parts.documented import arguments, load, trainer_of
from transformers import TrainerCallback


class Timed(TrainerCallback):
    """Notes the time of steps and validations, of these with the checkpoint that follows."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._is_validated = False

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._is_validated:
            self._marks.validation()
            self._is_validated = False
        elif not state.global_step:
            self._marks.begin()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._marks.step()

    def on_evaluate(self, *_: Any, **__: Any) -> None:
        self._is_validated = True

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self._marks.validation()


def main(location: str, train: str, validation: str, settings: dict[str, Any]) -> None:
    """Train a trial of each batch size."""
    marks = Marks()
    data = load(location, train, validation)
    more: dict[str, Any] = {}
    if settings["clever"]:
        more = {
            "bf16": settings["bf16"],
            "use_cpu": not torch.cuda.is_available(),  # asked for together with bf16
            "train_sampling_strategy": "group_by_length",
            "save_strategy": "no",
            "load_best_model_at_end": False,
        }
    for size in BATCH_SIZES:
        marks.trial(size)
        values = {"lr": 1e-4, "batch_size": size, "epochs": 1, "strategy": settings["strategy"]}
        trainer = trainer_of(location, data, values, arguments(f"trial-{size}", values, **more))
        trainer.add_callback(Timed(marks))
        trainer.train()
    marks.write(Path.cwd())


if __name__ == "__main__":
    main(*sys.argv[1:4], json.loads(sys.argv[4]))
