"""Which of this machine's GPUs each worker gets."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

VARIABLE = "CUDA_VISIBLE_DEVICES"


def gpus() -> Sequence[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them.

    Asked of the driver's own tool, because importing torch takes a second and making a CUDA
    context takes memory.
    """
    given = os.environ.get(VARIABLE)
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
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
    """Say whether there may be a GPU for this process, of any maker."""
    return bool(gpus()) or Path("/dev/kfd").exists()  # AMD's


def share_of(
    worker: int, num_devices: int, found: Sequence[str] | None = None
) -> Mapping[str, str]:
    """Return the environment that gives worker number `worker` its `num_devices` GPUs.

    Workers beyond the machine's GPUs share them in turn; a machine without any gives none.

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
