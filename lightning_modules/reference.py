"""What the network before the training, the reference, says of examples: computed once and kept.

A task that compares the network with the reference (`Task.needs_reference`) needs this if weights
of the pretrained network are trained, so that no adapter can be switched off. A resumed run reads
the values of its first attempt, so that it ends bit-equal to one that was never stopped.

Cost: one forward pass over all examples per run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from lightning_modules.batch.collate import Collate
from lightning_modules.batch.evaluate import over_examples
from lightning_modules.batch.tokenize import lengths_of
from lightning_modules.folder import REFERENCE_FILE
from lightning_modules.machine.file import replacing
from lightning_modules.task.base import REFERENCE

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn
    from transformers import PreTrainedTokenizerBase

    from lightning_modules.batch.micro import Limit
    from lightning_modules.machine.hardware import Hardware
    from lightning_modules.task.base import Task


def read_reference(folder: Path) -> dict[str, Tensor] | None:
    """Return the values in a run's folder, by split; None if it has none yet."""
    path = folder / REFERENCE_FILE
    return load_file(path) if path.is_file() else None


def write_reference(folder: Path, values: Mapping[str, Tensor]) -> None:
    """Write the values of each split to a run's folder; raise DiskFull if they do not fit."""
    num_bytes = sum(each.nbytes for each in values.values())
    with replacing(folder / REFERENCE_FILE, num_bytes) as draft:
        save_file(dict(values), draft)


def reference_of(
    task: Task,
    network: nn.Module,
    examples: Any,
    tokenizer: PreTrainedTokenizerBase,
    hardware: Hardware,
    limit: Limit,
    heartbeat: Callable[[str], None] = lambda doing: None,
) -> Tensor:
    """Return `task.reference` of each example, in order, on the CPU.

    Args:
        task: The task.
        network: The network before the training; it is moved to the device and left there.
        examples: The encoded rows, a `Dataset` or a list.
        tokenizer: The tokenizer that made them.
        hardware: Where to compute, and in which precision.
        limit: The most that passes through the network at once.
        heartbeat: Called before each batch with a description of the work.

    """
    device = torch.device(hardware.place(0))
    lengths = _lengths(examples) if isinstance(examples, list) else lengths_of(examples)
    see = partial(task.reference, network.to(device).eval())
    with hardware.autocast():
        found = over_examples(examples, lengths, Collate(tokenizer), device, see, limit, heartbeat)
    return found[REFERENCE]


def _lengths(examples: Sequence[Mapping[str, Any]]) -> list[int]:
    return [len(example["input_ids"]) for example in examples]
