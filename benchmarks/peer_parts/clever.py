"""Heads on frozen features as a clever user of Hugging Face's Trainer trains them: in one process.

    python clever.py MODEL TRAIN VALIDATION FOLDER '[{"lr": 0.01, "batch_size": 16, "epochs": 9}]'

The frozen model sees each text once, in bf16 and in batches of texts of similar length. Its outputs
stay in memory, and a Trainer trains a linear layer on them for each configuration, with a
validation and a checkpoint each epoch and W&B offline. Prints the seconds up to the first
configuration and of each one as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from peer_parts.documented import MAX_LENGTH, accuracy
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, Trainer, TrainingArguments
from transformers.modeling_outputs import SequenceClassifierOutput


class Head(nn.Module):
    """A linear layer on features."""

    def __init__(self, width: int, num_labels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, num_labels)

    def forward(self, features: Tensor, labels: Tensor) -> SequenceClassifierOutput:
        """Return the loss and the logits of features [B, C]."""
        logits = self.linear(features)
        loss = nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


def main(
    location: str, train: str, validation: str, folder: str, configurations: list[Any]
) -> dict[str, Any]:
    """Train all configurations; return the seconds."""
    began = time.monotonic()
    tokenizer, model = AutoTokenizer.from_pretrained(location), AutoModel.from_pretrained(location)
    splits = [read(Path(path)) for path in (train, validation)]
    names = sorted({row["label"] for row in splits[0]})
    data = []
    for rows in splits:
        features = features_of(model, tokenizer, [row["text"] for row in rows])
        labels = [names.index(row["label"]) for row in rows]
        pairs = zip(features, labels, strict=True)
        data.append([{"features": each, "labels": label} for each, label in pairs])
    start, seconds = time.monotonic() - began, []
    for number, settings in enumerate(configurations):
        began = time.monotonic()
        train_head(data, len(names), f"{folder}/{number}", settings)
        seconds.append(time.monotonic() - began)
    return {"start": start, "seconds": seconds}


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@torch.inference_mode()
def features_of(model: Any, tokenizer: Any, texts: list[str]) -> Tensor:
    """Return the mean of the last layer's outputs over each text's tokens, [texts, width]."""
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    found: list[Tensor] = [torch.empty(0)] * len(texts)
    for first in range(0, len(order), 64):
        part = order[first : first + 64]
        chosen = [texts[number] for number in part]
        batch = tokenizer(
            chosen, truncation=True, max_length=MAX_LENGTH, padding=True, return_tensors="pt"
        )
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(**batch).last_hidden_state.float()
        mask = batch["attention_mask"].unsqueeze(-1)
        means = (outputs * mask).sum(1) / mask.sum(1)
        for number, each in zip(part, means, strict=True):
            found[number] = each.clone()
    return torch.stack(found)


def train_head(data: list[Any], num_labels: int, folder: str, settings: dict[str, Any]) -> None:
    """Train one head, logged as a W&B run of its own."""
    import wandb

    arguments = TrainingArguments(
        output_dir=folder,
        run_name=Path(folder).name,
        learning_rate=settings["lr"],
        per_device_train_batch_size=settings["batch_size"],
        per_device_eval_batch_size=1024,
        num_train_epochs=settings["epochs"],
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        report_to="wandb",
        disable_tqdm=True,
    )
    head = Head(data[0][0]["features"].shape[0], num_labels)
    trainer = Trainer(
        model=head,
        args=arguments,
        train_dataset=data[0],
        eval_dataset=data[1],
        compute_metrics=accuracy,
    )
    trainer.train()
    wandb.finish()


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:5], json.loads(sys.argv[5]))))
