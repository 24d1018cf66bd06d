"""LoRA on the reviews with Hugging Face's Trainer, as documented; ends after its first step.

    python benchmarks/start_parts/trainer.py MODEL_FOLDER REVIEWS_JSONL OUTPUT_FOLDER

The model, the rows, the method, the batch size and the precision are those of `finesweep train`.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
from datasets import load_dataset
from peft import LoraConfig, TaskType, get_peft_model
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)


class First(TrainerCallback):
    """Ends the process after the first step."""

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """End without what follows: evaluation, saving, waiting for threads."""
        os._exit(0)


def main(model: str, reviews: str, output: str) -> None:
    labels = ["negative", "positive"]
    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = load_dataset("json", data_files=reviews, split="train", cache_dir=f"{output}/cache")
    rows = rows.map(lambda row: {"labels": labels.index(row["label"])}, remove_columns="label")
    rows = rows.map(lambda some: tokenizer(some["text"], truncation=True), batched=True)
    network = AutoModelForSequenceClassification.from_pretrained(model, num_labels=2)
    lora = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=8,
        lora_alpha=16,
        target_modules=["query", "key", "value", "dense"],
    )
    trainer = Trainer(
        model=get_peft_model(network, lora),
        args=TrainingArguments(
            output_dir=output,
            per_device_train_batch_size=16,
            num_train_epochs=3,
            learning_rate=1e-3,
            bf16=True,
            use_cpu=not torch.cuda.is_available(),
            report_to="none",
        ),
        train_dataset=rows.filter(lambda row: row["split"] == "train"),
        eval_dataset=rows.filter(lambda row: row["split"] == "validation"),
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        callbacks=[First()],
    )
    trainer.train()


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.exit("the training ended without a step")
