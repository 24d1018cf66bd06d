"""A training step with its options, and what makes the host wait for the card in it."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import torch
from gpu_parts.call import Call, report, require
from gpu_parts.training import NUM_SKIPPED, StepTimer, make_run, report_speed, train

from lightning_modules.fit import fit
from lightning_modules.logger.base import Identity

OPTIONS = {
    "gradient checkpointing": ("trainer.gradient_checkpointing=true",),
    "compiled layers": ("trainer.compile=true",),
    "8-bit AdamW": ("optimizer=adamw_8bit",),
}
ALLOWED = ("/transformers/",)  # it looks for padding in each pass


def options(call: Call) -> None:
    """Measure LoRA with each option of a step."""
    for name, words in OPTIONS.items():
        if "8-bit" in name and find_spec("bitsandbytes") is None:
            report(kind=name, skipped="needs bitsandbytes")
            continue
        run = make_run(call, f"trainer.max_steps={call.size.num_steps}", *words)
        if not call.on_cpu:
            torch.cuda.reset_peak_memory_stats()
        trained = train(call, run, name.replace(" ", "-"))
        report_speed(call, f"finesweep lora, {name}", trained.timer.seconds_per_step)


class Watch(StepTimer):
    """Lets torch warn of all that makes the host wait for the card, after the first steps."""

    def on_step(self, step: int, num_steps: int) -> None:
        if step == num_steps:
            torch.cuda.set_sync_debug_mode("default")
        elif step >= NUM_SKIPPED:
            torch.cuda.set_sync_debug_mode("warn")


def waits(call: Call) -> None:
    """List what makes the host wait inside a step that logs nothing."""
    if call.on_cpu:
        report(kind="waits", skipped="needs a GPU")
        return
    words = (f"trainer.max_steps={call.size.num_steps}", "trainer.log_every_steps=1000")
    folder = call.work / "runs" / "waits"
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(make_run(call, *words), folder, Identity("waits", None, folder), Watch(on_cpu=False))
    found = {
        f"{each.filename}:{each.lineno}" for each in caught if "synchroniz" in f"{each.message}"
    }
    report(kind="waits", places=sorted(found))
    ours = [place for place in found if not any(name in place for name in ALLOWED)]
    require(not ours, f"a step must not wait for the card, got {ours}")
