"""The peak of a card by the name that CUDA reports."""

from __future__ import annotations

import pytest

from lightning_modules.machine.hardware import Device, Hardware, Precision
from lightning_modules.machine.peak import peak_of, peak_of_card


@pytest.mark.parametrize(
    ("card", "peak"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A100-PCIE-40GB", 312e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40", None),
        ("NVIDIA GeForce RTX 4090", 165e12),
        ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", None),
        ("NVIDIA GB200", None),
        ("Tesla T4", None),
    ],
)
def test_a_card_has_its_own_peak_or_none(card: str, peak: float | None) -> None:
    assert peak_of_card(card) == peak


def test_only_a_gpu_in_bf16_has_a_peak() -> None:
    assert peak_of(Hardware(Device.cpu, Precision.bf16, 2, "")) is None
    assert peak_of(Hardware(Device.cuda, Precision.fp32, 2, "")) is None
