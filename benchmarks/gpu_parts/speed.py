"""The speed of LoRA: as it is, in plain transformers, with a base in fp32, and in 4 bits."""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import Any

import torch
from gpu_parts.call import Call, report
from gpu_parts.llama import random_ids, write_model
from gpu_parts.training import GIB, NUM_SKIPPED, Trained, make_run, report_speed, train


def lora(call: Call) -> None:
    """Measure finesweep's LoRA as it is."""
    trained = _train_lora(call, "speed")
    outcome = trained.outcome
    report_speed(
        call,
        "finesweep lora, as it is",
        trained.timer.seconds_per_step,
        whole_seconds=round(trained.seconds, 1),
        hardware=outcome.hardware,
        warnings=trained.timer.warnings[:3],
        outcome_memory_gib=round(outcome.memory_bytes / GIB, 2),
        validation_loss=round(outcome.best.validation_loss, 4) if outcome.best else None,
    )


def plain_lora(call: Call) -> None:
    """Measure transformers' Trainer with PEFT at the same shape, with fused AdamW on a card."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

    size = call.size
    dtype = torch.float32 if call.on_cpu else torch.bfloat16
    base = AutoModelForCausalLM.from_pretrained(write_model(call), dtype=dtype)
    adapters = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    rows = random_ids(size.batch_size * (size.num_steps + 1), size.num_tokens)
    data = [
        {"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids)} for ids in rows
    ]
    times: list[float] = []

    class Timer(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step in (NUM_SKIPPED, size.num_steps):
                if not call.on_cpu:
                    torch.cuda.synchronize()
                times.append(time.monotonic())

    arguments = TrainingArguments(
        output_dir=str(call.work / "trainer"),
        per_device_train_batch_size=size.batch_size,
        max_steps=size.num_steps,
        learning_rate=1e-3,
        optim="adamw_torch" if call.on_cpu else "adamw_torch_fused",
        bf16=not call.on_cpu,
        use_cpu=call.on_cpu,
        logging_steps=10,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    model = get_peft_model(base, adapters)
    Trainer(model=model, args=arguments, train_dataset=data, callbacks=[Timer()]).train()
    seconds = (times[1] - times[0]) / (size.num_steps - NUM_SKIPPED)
    name = "fp32" if call.on_cpu else "bf16"
    report_speed(call, f"transformers Trainer + PEFT, {name} base", seconds)


def variants(call: Call) -> None:
    """Measure what a base in fp32 costs."""
    trained = _train_lora(call, "fp32", "model.dtype=fp32")
    report_speed(call, "finesweep lora, model.dtype=fp32", trained.timer.seconds_per_step)


def qlora(call: Call) -> None:
    """Measure finesweep's QLoRA."""
    if find_spec("bitsandbytes") is None:
        report(kind="qlora", skipped="needs bitsandbytes")
        return
    words = (f"trainer.max_steps={call.size.num_steps}", "strategy.rank=8")
    run = make_run(call, *words, strategy="qlora")
    run.strategy.check(run.model, run.task)
    trained = train(call, run, "qlora")
    report_speed(
        call,
        "finesweep qlora",
        trained.timer.seconds_per_step,
        warnings=trained.timer.warnings[:3],
    )


def _train_lora(call: Call, name: str, *words: str) -> Trained:
    return train(call, make_run(call, f"trainer.max_steps={call.size.num_steps}", *words), name)
