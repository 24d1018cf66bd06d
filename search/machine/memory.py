"""The free memory of this machine and of its GPUs, without torch."""

from __future__ import annotations

import os
import subprocess

MIB = 2**20


def free_gpu_bytes() -> int | None:
    """Return the free memory of the fullest GPU that this process may use; None if unknown."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    command = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    if visible:
        command += ["-i", visible]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    numbers = [int(word) for word in listed.stdout.split() if word.isdecimal()]
    return min(numbers) * MIB if numbers and listed.returncode == 0 else None


def free_bytes() -> int:
    """Return the free main memory."""
    import psutil

    return int(psutil.virtual_memory().available)
