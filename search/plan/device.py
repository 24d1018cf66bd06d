"""Whether this machine has the devices that a run asks for."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib.metadata import version

from lightning_modules.machine.hardware import Device, choose_hardware
from lightning_modules.run import Run
from search.machine.gpu import AMD, NVIDIA, gpus


def check_devices(runs: Iterable[Run]) -> None:
    """Raise ConfigError if a run names a device that is not here, or more of them than there are.

    torch, which takes seconds to import, is asked only if the drivers' list does not answer.
    """
    asked = {(run.trainer.device, run.trainer.precision, run.trainer.devices) for run in runs}
    for device, precision, num_devices in asked:
        if device is Device.cpu or (device is Device.auto and num_devices == 1):
            continue
        found = gpus()
        if device is Device.auto and not found:
            continue  # the ranks share the CPU
        is_listed = device is not Device.mps and num_devices <= len(found)
        is_chosen = any(variable in os.environ for variable in (NVIDIA, AMD))
        if not is_listed or is_chosen or "+cpu" in version("torch"):
            choose_hardware(device, precision, num_devices)
