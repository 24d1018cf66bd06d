"""Detect that memory ran out, on any device, and recover from it; measure a GPU's memory."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

# From torch on a CPU, C++ in general, Apple GPUs, cuBLAS and cuDNN, the CUDA driver.
_TEXTS = (
    "DefaultCPUAllocator: can't allocate memory",
    "std::bad_alloc",
    "MPS backend out of memory",
    "STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
)
# oneDNN's complete messages on a CPU; if it does not support an operation they add "descriptor".
_WHOLE_TEXTS = ("could not create a primitive", "could not execute a primitive")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the error means that memory ran out.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shapes differ"))
    (True, False)
    """
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    return str(error) in _WHOLE_TEXTS or any(text in str(error) for text in _TEXTS)


def unless_out_of_memory(act: Callable[[], T]) -> T | None:
    """Return the result of `act`; if memory runs out, free what it held and return None."""
    try:
        return act()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    # Outside the except block the error is gone, with the tensors that its traceback refers to.
    free_memory()
    return None


def free_memory() -> None:
    """Return unreferenced memory to the device and to the operating system."""
    import torch

    gc.collect()  # Lightning's trainer and module refer to each other
    # glibc keeps freed blocks of up to 32 MiB, which would count as the next run's memory.
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def memory_of(device: torch.device) -> CudaMemory | None:
    """Return the memory of a device on which a peak can be measured; None for any other."""
    return CudaMemory(device) if device.type == "cuda" else None


@dataclass(frozen=True)
class CudaMemory:
    """The memory of a CUDA device."""

    device: torch.device

    def free_bytes(self) -> int:
        """Return how many bytes this process can still allocate: of its share if it has one."""
        import torch

        free, total = torch.cuda.mem_get_info(self.device)
        allocated = torch.cuda.memory_allocated(self.device)
        kept = torch.cuda.memory_reserved(self.device) - allocated  # freed, to be used again
        share = torch.cuda.get_per_process_memory_fraction(self.device)
        return min(free + kept, int(share * total) - allocated)

    def peak_bytes(self, act: Callable[[], object]) -> int:
        """Return the most bytes that were allocated at once during `act`, over those before it."""
        import torch

        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        act()
        return int(torch.cuda.max_memory_allocated(self.device)) - before
