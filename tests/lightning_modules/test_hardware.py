from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from lightning_modules.hardware import Device, Precision, choose_hardware


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_it_knows_the_threads_of_now() -> None:
    hardware = choose_hardware(Device.cpu, Precision.fp32)
    assert hardware.num_threads == 3
    assert str(hardware) == "cpu, fp32 (3 threads, precision as configured)"


def test_nothing_stays_automatic() -> None:
    hardware = choose_hardware(Device.auto, Precision.auto)
    assert hardware.device is not Device.auto
    assert hardware.precision is not Precision.auto
    assert "bf16 units" in str(hardware)
