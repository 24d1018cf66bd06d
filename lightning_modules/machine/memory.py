"""Detect that memory ran out, on any device, and recover from it; keep and free memory."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


# The name in the environment, glibc's number (malloc.h) and the value of each setting.
_MALLOC = (
    ("MALLOC_MMAP_THRESHOLD_", -3, 2**30),
    ("MALLOC_TRIM_THRESHOLD_", -1, 2**30),
    ("MALLOC_TOP_PAD_", -2, 2**27),
)


def keep_buffers() -> None:
    """Let this process keep large buffers that it has freed, for its next ones.

    glibc returns them to the kernel after every step and requests them again. Keeping them makes a
    training step on a CPU 1.02 to 1.3 times as fast. What the user has set in the environment
    remains, and so do other C libraries.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    for name, number, value in _MALLOC:
        if set_option is not None and name not in os.environ:
            set_option(number, value)


@contextmanager
def importing() -> Iterator[None]:
    """Import heavy libraries without garbage collections: nothing that is imported is garbage.

    The collections would look through all of it again and again, for 1.3 s of 5.7 s of a core, and
    would find 9 MB.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def freeze_imports() -> None:
    """Leave what has been imported out of all later garbage collections.

    It is never garbage, and `free_memory` would take 0.3 s more after each run to see that. In a
    forked process a collection would also write to memory that is shared, and so copy it. What else
    there is in the process is never collected either, so this is not for a process of the user's.
    """
    gc.freeze()


def free_memory() -> None:
    """Return unreferenced memory to the device and to the operating system."""
    import torch

    gc.collect()  # Lightning's trainer and module refer to each other
    return_buffers()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def return_buffers() -> None:
    """Return freed buffers to the operating system; costs 1 to 3 ms of a core.

    glibc keeps freed blocks of up to 32 MiB, and all of them after `keep_buffers`.
    """
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


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
