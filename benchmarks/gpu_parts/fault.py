"""Faults of one run: memory that runs out, and a stop."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import torch
from gpu_parts.call import Call, report, require
from gpu_parts.training import GIB, Trained, make_run, train
from safetensors.torch import load_file

from lightning_modules.batch.type import Batch
from lightning_modules.folder import BEST_FILE
from lightning_modules.task.generation import Generation


def out_of_memory(call: Call) -> None:
    """Train with a batch that does not fit: it is split, and the validation loss stays the same."""
    run = make_run(call, "trainer.max_steps=6", "trainer.micro_batch_tokens=null")
    limit = call.size.memory_limit_gib
    if call.on_cpu or limit is None:
        with patch.object(Generation, "forward", _forward_two):
            split = train(call, run, "oom")
        _report_recovery(split)
        return
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(limit * GIB / total)
    split = train(call, run, "oom")
    _report_recovery(split)
    _measure_first(call)
    torch.cuda.set_per_process_memory_fraction(1.0)
    whole = train(call, run, "whole")
    if split.outcome.best and whole.outcome.best:
        loss = whole.outcome.best.validation_loss
        difference = abs(split.outcome.best.validation_loss - loss)
        report(kind="oom against whole", difference=difference, validation_loss=loss)


def _measure_first(call: Call) -> None:
    """Train in the same memory, but measure first how many tokens fit: it does not run out."""
    torch.cuda.empty_cache()
    measured = train(call, make_run(call, "trainer.max_steps=6"), "measured")
    warnings = measured.timer.warnings
    report(kind="measured", tokens=measured.outcome.micro_batch_tokens, warnings=warnings)
    ran_out = any("out of memory" in warning for warning in warnings)
    require(not ran_out, "a measured limit must fit into memory")


def _report_recovery(split: Trained) -> None:
    warnings = split.timer.warnings
    recovered = any("out of memory at step" in warning for warning in warnings)
    report(kind="oom", recovered=recovered, warnings=warnings)
    require(recovered, "memory must run out and the run recover: lower Size.memory_limit_gib?")


_forward = Generation.forward


def _forward_two(task: Generation, network: Any, batch: Batch) -> Any:
    """Stand in for a device on which two examples fit."""
    if len(batch["input_ids"]) > 2:
        raise torch.OutOfMemoryError("CUDA out of memory (stand-in)")
    return _forward(task, network, batch)


def resume(call: Call) -> None:
    """Compare the weights of a run that was stopped and resumed with those of one that was not."""
    run = make_run(call, "trainer.max_steps=8", "strategy.dropout=0.1")
    train(call, run, "resumed", stop_after=4)
    resumed = train(call, run, "resumed", resume=True)
    unbroken = train(call, run, "unbroken")
    got = load_file(resumed.folder / BEST_FILE)
    expected = load_file(unbroken.folder / BEST_FILE)
    require(got.keys() == expected.keys(), "both runs must save the same tensors")
    bit_equal = all(torch.equal(got[name], expected[name]) for name in expected)
    differences = [(got[name].float() - expected[name].float()).abs().max() for name in expected]
    report(kind="resume", bit_equal=bit_equal, greatest_difference=float(max(differences)))
    # Kernels on a card may add in any order, so two unbroken runs may differ there as well.
    require(bit_equal or not call.on_cpu, "the resumed run must have the same weights")
