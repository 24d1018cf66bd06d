"""One fine-tuning as the documentation of Hugging Face's Trainer shows it, in a process of its own.

    python documented.py MODEL TRAIN VALIDATION FOLDER '{"strategy": "frozen", "lr": 0.01, ...}'

Follows the guide to text classification: the files through `datasets`, tokens by `map` (which keeps
them on the disk), batches padded to their longest text, a validation and a checkpoint each epoch,
the best weights at the end, W&B offline. Prints the scores of the best validation as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
from datasets import load_dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

MAX_LENGTH = 128


@dataclass(frozen=True)
class Data:
    """The rows as tokens, and what the model must know of them."""

    tokenizer: Any
    encoded: Any
    num_labels: int


def main(
    location: str, train: str, validation: str, folder: str, settings: dict[str, Any]
) -> dict[str, float]:
    """Train one configuration; return the scores of its best validation."""
    data = load(location, train, validation)
    trainer = trainer_of(location, data, settings, arguments(folder, settings, report_to="wandb"))
    trainer.train()
    scores = trainer.evaluate()
    return {"loss": scores["eval_loss"], "accuracy": scores["eval_accuracy"]}


def load(location: str, train: str, validation: str) -> Data:
    """Return the rows of both files as tokens."""
    rows = load_dataset("json", data_files={"train": train, "validation": validation})
    names = sorted(set(rows["train"]["label"]))
    ids = {name: number for number, name in enumerate(names)}
    tokenizer = AutoTokenizer.from_pretrained(location)

    def encode(batch: dict[str, list[Any]]) -> dict[str, Any]:
        encoded: dict[str, Any] = tokenizer(batch["text"], truncation=True, max_length=MAX_LENGTH)
        encoded["labels"] = [ids[name] for name in batch["label"]]
        return encoded

    encoded = rows.map(encode, batched=True, remove_columns=rows["train"].column_names)
    return Data(tokenizer, encoded, len(names))


def arguments(folder: str, settings: dict[str, Any], **more: Any) -> TrainingArguments:
    """Return the arguments of the guide, and `more` in place of them."""
    guide: dict[str, Any] = {
        "output_dir": folder,
        "run_name": Path(folder).name,
        "learning_rate": settings["lr"],
        "per_device_train_batch_size": settings["batch_size"],
        "per_device_eval_batch_size": 64,
        "num_train_epochs": settings["epochs"],
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "load_best_model_at_end": True,
        "report_to": "none",
        "disable_tqdm": True,
    }
    return TrainingArguments(**{**guide, **more})


def trainer_of(
    location: str, data: Data, settings: dict[str, Any], arguments: TrainingArguments
) -> Trainer:
    """Return the trainer of one configuration, with a new model."""
    model = AutoModelForSequenceClassification.from_pretrained(location, num_labels=data.num_labels)
    return Trainer(
        model=adapted(model, settings["strategy"]),
        args=arguments,
        train_dataset=data.encoded["train"],
        eval_dataset=data.encoded["validation"],
        processing_class=data.tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer=data.tokenizer),
        compute_metrics=accuracy,
    )


def adapted(model: Any, strategy: str) -> Any:
    """Return the model with what the strategy trains."""
    if strategy == "frozen":
        for parameter in model.base_model.parameters():
            parameter.requires_grad = False
    if strategy == "lora":
        from peft import LoraConfig, get_peft_model

        adapters = LoraConfig(
            r=8,
            lora_alpha=16,
            target_modules="all-linear",
            task_type="SEQ_CLS",
            exclude_modules=["classifier"],
        )
        return get_peft_model(model, adapters)
    return model


def accuracy(prediction: Any) -> dict[str, float]:
    """Return the share of right predictions."""
    return {"accuracy": float(np.mean(prediction.predictions.argmax(-1) == prediction.label_ids))}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:5], json.loads(sys.argv[5]))))
