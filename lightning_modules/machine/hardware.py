"""Choose the device and precision of a run, and explain the choice."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal

from lightning_modules.error import ConfigError, Problem

if TYPE_CHECKING:
    import torch


class Device(Enum):
    """Where a run trains."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class Precision(Enum):
    """The number format of the training; weights are always stored in fp32."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"
    """With a scaled loss, for cards without bf16 units. Its largest number is 65504."""


@dataclass(frozen=True)
class Hardware:
    """A device with a precision; `str` returns both with the reason.

    Attributes:
        device: Never `auto`.
        precision: Never `auto`.
        num_threads: CPU threads of torch. Their number changes the order of additions, so results
            are bit-identical only with the same number.
        reason: Why these were chosen.
        num_devices: Ranks that share every batch; on a CPU they also share the threads.

    """

    device: Device
    precision: Precision
    num_threads: int
    reason: str
    num_devices: int = 1

    @property
    def lightning_precision(self) -> Literal["bf16-mixed", "32-true"] | None:
        """Lightning's name for the precision; None in fp16, see `machine.scaled`."""
        if self.precision is Precision.fp16:
            return None
        return "bf16-mixed" if self.precision is Precision.bf16 else "32-true"

    @property
    def mixed_dtype(self) -> torch.dtype | None:
        """The number format of products under `autocast`; None if all is in fp32."""
        import torch

        return {Precision.bf16: torch.bfloat16, Precision.fp16: torch.float16}.get(self.precision)

    def autocast(self) -> torch.autocast:
        """Return a context that computes in the same mixed precision as Lightning's training."""
        import torch

        dtype = self.mixed_dtype
        return torch.autocast(self.device.value, dtype, enabled=dtype is not None)

    def place(self, rank: int = 0) -> str:
        """Return torch's name of the device of a rank, e.g. `cuda:1`."""
        return f"cuda:{rank}" if self.device is Device.cuda else self.device.value

    def use_tensor_cores(self) -> None:
        """Let a GPU with such units multiply what is in fp32 in TF32, for the whole process.

        TF32 keeps the exponent of fp32 and 10 bits of the mantissa; sums are in fp32.
        """
        import torch

        if self.device is Device.cuda:
            torch.set_float32_matmul_precision("high")

    @property
    def devices(self) -> str:
        """The device, and how many ranks if there are several, e.g. `cuda x 2 ranks`."""
        ranks = f" x {self.num_devices} ranks" if self.num_devices > 1 else ""
        return f"{self.device.value}{ranks}"

    def __str__(self) -> str:
        return f"{self.devices}, {self.precision.value} ({self.reason})"


def choose_hardware(device: Device, precision: Precision, num_devices: int = 1) -> Hardware:
    """Replace `auto` by the fastest device available, and by bf16 if it has bf16 units.

    A CPU without bf16 units emulates bf16, which is three times slower than fp32.

    Raises:
        ConfigError: This machine does not have the requested device, or not that many.

    """
    import torch

    if device is Device.auto:
        device = (
            Device.cuda
            if torch.cuda.is_available()
            else Device.mps
            if torch.backends.mps.is_available()
            else Device.cpu
        )
    missing = (device is Device.cuda and not torch.cuda.is_available()) or (
        device is Device.mps and not torch.backends.mps.is_available()
    )
    if missing:
        rule = "must be a device that this machine has"
        raise ConfigError(Problem("trainer.device", rule, device.value, "Set trainer.device=auto."))
    num_present = {Device.cuda: torch.cuda.device_count(), Device.mps: 1}.get(device)
    if num_present is not None and num_devices > num_present:
        rule = f"must be <= {num_present}, the number of GPUs in this machine"
        fix = f"Set trainer.devices={num_present}, or trainer.device=cpu."
        raise ConfigError(Problem("trainer.devices", rule, num_devices, fix))
    if precision is not Precision.auto:
        reason = "configured precision"
    elif _has_bf16_units(device):
        precision, reason = Precision.bf16, "bf16 units found"
    else:
        precision, reason = Precision.fp32, "no bf16 units"
        if device is Device.cuda:
            reason += "; or set trainer.precision=fp16"
    if precision is Precision.fp32 and device is Device.cuda and _has_bf16_units(device):
        reason += ", products in TF32"  # the same cards have units for both
    where = f"{_describe(device)}, {reason}"
    return Hardware(device, precision, torch.get_num_threads(), where, num_devices)


def _describe(device: Device) -> str:
    import torch

    if device is Device.cuda:
        return str(torch.cuda.get_device_name())
    if device is not Device.cpu:
        return "Apple GPU"
    num_threads = torch.get_num_threads()
    return f"{num_threads} thread{'' if num_threads == 1 else 's'}"


def _has_bf16_units(device: Device) -> bool:
    import torch

    if device is Device.cuda:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device is Device.cpu:
        return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    return False
