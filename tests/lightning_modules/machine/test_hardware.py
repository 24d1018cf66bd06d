from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from lightning_modules.error import ConfigError
from lightning_modules.machine.hardware import Device, Precision, choose_hardware


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_hardware_has_the_current_number_of_threads() -> None:
    hardware = choose_hardware(Device.cpu, Precision.fp32)
    assert hardware.num_threads == 3
    assert str(hardware) == "cpu, fp32 (3 threads, configured precision)"
    torch.set_num_threads(1)
    hardware = choose_hardware(Device.cpu, Precision.fp32)
    assert str(hardware) == "cpu, fp32 (1 thread, configured precision)"


def test_auto_is_replaced() -> None:
    hardware = choose_hardware(Device.auto, Precision.auto)
    assert hardware.device is not Device.auto
    assert hardware.precision is not Precision.auto
    assert "bf16 units" in str(hardware)


def test_more_devices_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError) as caught:
        choose_hardware(Device.auto, Precision.fp32, num_devices=2)
    assert str(caught.value) == (
        "trainer.devices: must be <= 1, the number of GPUs in this machine, got 2. "
        "Set trainer.devices=1, or trainer.device=cpu."
    )
    hardware = choose_hardware(Device.cpu, Precision.fp32, num_devices=2)
    assert str(hardware).startswith("cpu x 2 ranks, fp32 (")


@pytest.fixture
def a_card(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make torch say that there is a GPU with bf16 units; keep its setting for products."""
    before = torch.get_float32_matmul_precision()
    for name, value in (("is_available", True), ("device_count", 1), ("get_device_name", "Card")):
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.usefixtures("a_card")
def test_fp32_on_a_card_with_such_units_multiplies_in_tf32_and_says_so() -> None:
    choose_hardware(Device.cpu, Precision.fp32).use_tensor_cores()
    assert torch.get_float32_matmul_precision() == "highest"
    hardware = choose_hardware(Device.cuda, Precision.fp32)
    assert str(hardware) == "cuda, fp32 (Card, configured precision, products in TF32)"
    hardware.use_tensor_cores()
    assert torch.get_float32_matmul_precision() == "high"
    assert (
        str(choose_hardware(Device.cuda, Precision.auto)) == "cuda, bf16 (Card, bf16 units found)"
    )
