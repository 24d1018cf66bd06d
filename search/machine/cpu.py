"""CPU cores: how many there are, and the threads of each worker."""

from __future__ import annotations

import os
from pathlib import Path


def worker_threads(num_workers: int) -> int:
    """Return the CPU threads per worker: its share of the cores, or OMP_NUM_THREADS if lower.

    On two cores, three trainings with two threads each take five times as long as with one thread.
    """
    share = max(1, num_cores() // num_workers)
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(limit)) if limit.isdecimal() and int(limit) > 0 else share


def has_bf16_units() -> bool:
    """Return whether the processor has units for bf16, as torch would find."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            flags = next((line for line in file if line.startswith("flags")), "").split()
    except OSError:  # not Linux
        return False
    return "amx_tile" in flags or "avx512_bf16" in flags


def num_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
