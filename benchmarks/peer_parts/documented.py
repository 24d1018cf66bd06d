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


def main(
    location: str, train: str, validation: str, folder: str, settings: dict[str, Any]
) -> dict[str, float]:
    """Train one configuration; return the scores of its best validation."""
    rows = load_dataset("json", data_files={"train": train, "validation": validation})
    names = sorted(set(rows["train"]["label"]))
    ids = {name: number for number, name in enumerate(names)}
    tokenizer = AutoTokenizer.from_pretrained(location)

    def encode(batch: dict[str, list[Any]]) -> dict[str, Any]:
        encoded: dict[str, Any] = tokenizer(batch["text"], truncation=True, max_length=MAX_LENGTH)
        encoded["labels"] = [ids[name] for name in batch["label"]]
        return encoded

    encoded = rows.map(encode, batched=True, remove_columns=rows["train"].column_names)
    model = AutoModelForSequenceClassification.from_pretrained(location, num_labels=len(names))
    adapt(model, settings)
    arguments = TrainingArguments(
        output_dir=folder,
        run_name=Path(folder).name,
        learning_rate=settings["lr"],
        per_device_train_batch_size=settings["batch_size"],
        per_device_eval_batch_size=64,
        num_train_epochs=settings["epochs"],
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        report_to="wandb",
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=encoded["train"],
        eval_dataset=encoded["validation"],
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer=tokenizer),
        compute_metrics=accuracy,
    )
    trainer.train()
    scores = trainer.evaluate()
    return {"loss": scores["eval_loss"], "accuracy": scores["eval_accuracy"]}


def adapt(model: Any, settings: dict[str, Any]) -> None:
    """Freeze what the strategy does not train."""
    if settings["strategy"] == "frozen":
        for parameter in model.base_model.parameters():
            parameter.requires_grad = False


def accuracy(prediction: Any) -> dict[str, float]:
    """Return the share of right predictions."""
    return {"accuracy": float(np.mean(prediction.predictions.argmax(-1) == prediction.label_ids))}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:5], json.loads(sys.argv[5]))))
