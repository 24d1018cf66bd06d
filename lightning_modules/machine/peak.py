"""How many operations per second cards do at most, by their datasheets.

Products of bf16 matrices summed in fp32, without sparsity.
"""

from __future__ import annotations

import re

from lightning_modules.machine.hardware import Device, Hardware, Precision

# Part of the name that CUDA reports, to operations per second. The first one that fits counts.
_PEAKS = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100 NVL": 835e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,  # SXM
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "RTX 4090": 165e12,
}


def peak_of(hardware: Hardware) -> float | None:
    """Return the operations per second that all devices of a run do at most; None if unknown."""
    import torch

    if hardware.device is not Device.cuda or hardware.precision is not Precision.bf16:
        return None
    peak = peak_of_card(torch.cuda.get_device_name())
    return None if peak is None else hardware.num_devices * peak


def peak_of_card(card: str) -> float | None:
    """Return a card's peak in bf16, in operations per second; None if it is not in the table.

    >>> peak_of_card("NVIDIA H100 80GB HBM3"), peak_of_card("NVIDIA L40")
    (989000000000000.0, None)
    """
    if " MIG " in card:  # a part of a card
        return None
    return next((peak for name, peak in _PEAKS.items() if _has(card, name)), None)


def _has(card: str, name: str) -> bool:
    """Return whether the card has the name, and not one that contains it, as L40 does L4."""
    return re.search(rf"(?<![A-Za-z0-9]){name}(?![A-Za-z0-9])", card) is not None
