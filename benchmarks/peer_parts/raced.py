"""A search with Optuna and Hugging Face's Trainer, until it is interrupted.

    python -m peer_parts.raced documented MODEL SEED
    python -m peer_parts.raced clever MODEL SEED

As documented: `Trainer.hyperparameter_search` with the space of its guide (learning rate 1e-6 to
1e-4, batch size 16 to 128) and of `peer_parts/documented.py` otherwise, all weights, three epochs.
The clever one knows a good range (2e-5 to 5e-4, batches of 8 to 32, 2 to 6 epochs), warms up, stops
with successive halving, computes in bf16 where the processor has units for it, groups batches by
length, and writes no checkpoints.

Reads `train.jsonl` and `validation.jsonl`. After Ctrl-C the weights of the best validation so far,
which stay in memory, label the rows of `heldout.jsonl`; the labels are in `labels.json`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import torch
import transformers
from peer_parts.clever import read
from peer_parts.documented import MAX_LENGTH, Data, accuracy, arguments, load
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
)

from lightning_modules.machine.hardware import Device, Precision, choose_hardware

NUM_TRIALS = 1000
"""More than the time allows."""


class Best(TrainerCallback):
    """Keeps the weights of the best validation of all trials."""

    def __init__(self) -> None:
        self.score = float("-inf")
        self.weights: dict[str, torch.Tensor] = {}

    def on_evaluate(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Keep the weights if they are the best."""
        score = given["metrics"]["eval_accuracy"]
        if score > self.score:
            self.score = score
            weights = given["model"].state_dict()
            self.weights = {name: value.clone() for name, value in weights.items()}


class Pruning(TrainerCallback):
    """Tells Optuna of each validation, and ends the trial if it says so."""

    def __init__(self, trial: optuna.Trial) -> None:
        self._trial = trial
        self.score = 0.0

    def on_evaluate(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Report the accuracy."""
        score = given["metrics"]["eval_accuracy"]
        self.score = max(self.score, score)
        self._trial.report(score, round(state.epoch))
        if self._trial.should_prune():
            raise optuna.TrialPruned


def main(kind: str, location: str, seed: int) -> None:
    """Search until Ctrl-C, then predict."""
    transformers.utils.logging.set_verbosity_error()
    best = Best()
    try:
        data = load(location, "train.jsonl", "validation.jsonl")

        def model(*_: Any) -> Any:
            return AutoModelForSequenceClassification.from_pretrained(
                location, num_labels=data.num_labels
            )

        search = documented if kind == "documented" else clever
        search(data, model, best, seed)
    except KeyboardInterrupt:
        pass
    if best.weights:
        network = model()
        network.load_state_dict(best.weights)
        Path("labels.json").write_text(json.dumps(labels(network, data)), encoding="utf-8")


def documented(data: Data, model: Callable[..., Any], best: Best, seed: int) -> None:
    """Search as the guide to hyperparameter search does."""

    def space(trial: optuna.Trial) -> dict[str, Any]:
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-6, 1e-4, log=True),
            "per_device_train_batch_size": trial.suggest_categorical(
                "per_device_train_batch_size", [16, 32, 64, 128]
            ),
        }

    values = {"lr": 5e-5, "batch_size": 16, "epochs": 3}
    trainer = trainer_of(data, arguments("documented", values, seed=seed), best, model_init=model)
    trainer.hyperparameter_search(
        hp_space=space,
        backend="optuna",
        direction="maximize",
        n_trials=NUM_TRIALS,
        sampler=optuna.samplers.TPESampler(seed=seed),
    )


def clever(data: Data, model: Callable[..., Any], best: Best, seed: int) -> None:
    """Search as a user does who knows better."""
    is_bf16 = choose_hardware(Device.auto, Precision.auto).precision is Precision.bf16

    def objective(trial: optuna.Trial) -> float:
        values = {
            "lr": trial.suggest_float("lr", 2e-5, 5e-4, log=True),
            "batch_size": trial.suggest_categorical("batch_size", [8, 16, 32]),
            "epochs": trial.suggest_int("epochs", 2, 6),
        }
        settings = arguments(
            "clever",
            values,
            seed=seed,
            bf16=is_bf16,
            use_cpu=not torch.cuda.is_available(),
            train_sampling_strategy="group_by_length",
            warmup_steps=0.1,
            save_strategy="no",
            load_best_model_at_end=False,
        )
        pruning = Pruning(trial)
        trainer = trainer_of(data, settings, best, model=model())
        trainer.add_callback(pruning)
        trainer.train()
        return pruning.score

    optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.SuccessiveHalvingPruner(),
    ).optimize(objective, n_trials=NUM_TRIALS)


def trainer_of(data: Data, settings: Any, best: Best, **model: Any) -> Trainer:
    """Return a trainer of a model, or of what makes one."""
    return Trainer(
        args=settings,
        train_dataset=data.encoded["train"],
        eval_dataset=data.encoded["validation"],
        processing_class=data.tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer=data.tokenizer),
        compute_metrics=accuracy,
        callbacks=[best],
        **model,
    )


@torch.inference_mode()
def labels(network: Any, data: Data) -> list[str]:
    """Return the labels of the held-out rows."""
    network.eval()
    names = sorted({row["label"] for row in read(Path("train.jsonl"))})
    texts = [row["text"] for row in read(Path("heldout.jsonl"))]
    found: list[str] = []
    for first in range(0, len(texts), 64):
        batch = data.tokenizer(
            texts[first : first + 64],
            truncation=True,
            max_length=MAX_LENGTH,
            padding=True,
            return_tensors="pt",
        )
        found += [names[number] for number in network(**batch).logits.argmax(-1).tolist()]
    return found


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
