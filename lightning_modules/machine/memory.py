"""Running out of memory, on any device: how to tell, and how to go on after it."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# CPU, C++ at large, Apple, cuBLAS and cuDNN, the CUDA driver.
_TEXTS = (
    "DefaultCPUAllocator: can't allocate memory",
    "std::bad_alloc",
    "MPS backend out of memory",
    "STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
)
# All that oneDNN says of a shortage on a CPU; for what it cannot do it names a "descriptor".
_WHOLE_TEXTS = ("could not create a primitive", "could not execute a primitive")


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether the error means that memory ran out.

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
    """Return what `act` returns; None where memory ran out, with what the try held given back."""
    try:
        return act()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    # Only here is the error gone, and with it the frames and tensors that its traceback keeps.
    free_memory()
    return None


def free_memory() -> None:
    """Give what nothing refers to any more back to the device, and to the system."""
    import torch

    gc.collect()  # Lightning's trainer and module refer to each other
    # glibc keeps freed blocks of up to 32 MiB: the next run would be taken to hold them.
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
