"""Assign this machine's GPUs to workers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

VARIABLE = "CUDA_VISIBLE_DEVICES"


def gpus() -> Sequence[str]:
    """Return the GPUs that this process may use, as names for CUDA_VISIBLE_DEVICES.

    Uses nvidia-smi, because importing torch takes a second and a CUDA context takes memory.
    """
    visible = os.environ.get(VARIABLE)
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip()]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return listed.stdout.split() if listed.returncode == 0 else []


def has_gpus() -> bool:
    """Return whether this process may have a GPU, of any vendor."""
    return bool(gpus()) or Path("/dev/kfd").exists()  # AMD's


def share_of(
    worker: int, num_devices: int, found: Sequence[str] | None = None
) -> Mapping[str, str]:
    """Return the environment that gives worker number `worker` its `num_devices` GPUs.

    If there are more workers than GPUs, they share them in turn; empty without GPUs.

    >>> [share_of(worker, 2, ["0", "1", "2", "3"])[VARIABLE] for worker in range(3)]
    ['0,1', '2,3', '0,1']
    >>> share_of(0, 1, [])
    {}
    """
    names = gpus() if found is None else found
    num_shares = len(names) // num_devices
    if num_shares == 0:
        return {}
    first = worker % num_shares * num_devices
    return {VARIABLE: ",".join(names[first : first + num_devices])}
