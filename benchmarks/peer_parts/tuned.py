"""A clever user of Hugging Face's Trainer: bf16 where the processor has it, batches by length.

Trains what `single.py` asks for, on the same tokens: the same model, strategy, batch size, learning
rate and epochs, with PEFT for LoRA. A loss on the validation rows after each epoch, no checkpoints.
"""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers
from datasets import load_from_disk
from peft import LoraConfig, get_peft_model
from single_parts.job import Job
from single_parts.side import Stopwatch, Took, serve
from transformers import (
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    DataCollatorWithPadding,
    EncoderDecoderModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

SEQ2SEQ = "AutoModelForSeq2SeqLM"


class Timed(TrainerCallback):
    """Measures from the built network to the last validation."""

    def __init__(self) -> None:
        self.watch = Stopwatch()

    def on_evaluate(self, *_: Any, **__: Any) -> None:
        """End the measurement after each validation."""
        self.watch.stop()


def train(job: Job) -> Took:
    """Train a run; return what it took."""
    tokenizer = AutoTokenizer.from_pretrained(job.model)
    model, data = network(job, tokenizer), load_from_disk(job.examples)
    collate: Any = DataCollatorWithPadding(tokenizer)
    if "Sequence" not in job.auto_class:  # labels are lists
        collate = DataCollatorForSeq2Seq(tokenizer, model=model)
    timed = Timed()
    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=job.batch_size,
            per_device_eval_batch_size=64,
            num_train_epochs=job.epochs,
            learning_rate=job.lr,
            bf16=job.bf16,
            train_sampling_strategy="group_by_length",
            eval_strategy="epoch",
            prediction_loss_only=True,
            save_strategy="no",
            use_cpu=not torch.cuda.is_available(),
            report_to="none",
            disable_tqdm=True,
        )
        Trainer(
            model=model,
            args=arguments,
            train_dataset=data["train"],
            eval_dataset=data["validation"],
            processing_class=tokenizer,
            data_collator=collate,
            callbacks=[timed],
        ).train()
    return timed.watch.took


def network(job: Job, tokenizer: Any) -> Any:
    """Return the model with what is trained."""
    if job.auto_class == SEQ2SEQ:
        model = EncoderDecoderModel.from_encoder_decoder_pretrained(job.model, job.model)
        model.config.decoder_start_token_id = tokenizer.cls_token_id
        model.config.pad_token_id = tokenizer.pad_token_id
    else:
        labels = {"num_labels": job.num_labels} if job.num_labels else {}
        model = getattr(transformers, job.auto_class).from_pretrained(job.model, **labels)
    if job.strategy == "feature_extraction":
        model.base_model.requires_grad_(False)
    if job.strategy == "lora":
        adapters = LoraConfig(
            r=job.rank,
            lora_alpha=job.alpha,
            target_modules="all-linear",
            exclude_modules=["classifier"],  # the head is trained itself
            task_type=job.task_type,
        )
        model = get_peft_model(model, adapters)
    return model


if __name__ == "__main__":
    transformers.utils.logging.set_verbosity_error()
    serve(train)
