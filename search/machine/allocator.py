"""How torch allocates the memory of NVIDIA's GPUs.

Batches differ in length, and so do the sizes of their tensors. Memory segments of a fixed size
then leave gaps that fit nothing; segments that grow do not.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from search.machine.gpu import NVIDIA, Gpu, gpus

_VARIABLES = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")


def allocator(found: Sequence[Gpu] | None = None) -> Mapping[str, str]:
    """Return the environment for processes that import torch later.

    Empty without NVIDIA's GPUs, and if the user has set one of torch's variables for it.

    Args:
        found: The GPUs that the processes may use; None looks for them.

    >>> allocator([])
    {}
    """
    if any(name in os.environ for name in _VARIABLES):
        return {}
    has_nvidia = any(gpu.variable == NVIDIA for gpu in (gpus() if found is None else found))
    return {"PYTORCH_ALLOC_CONF": "expandable_segments:True"} if has_nvidia else {}
