"""The parts of the GPU benchmark pass: on a card, and at tiny size on a CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from gpu import CPU_LIMIT_FACTOR, LIMITS, start_part
from gpu_parts.call import Call

DEVICES = (
    pytest.param("cpu", marks=pytest.mark.slow),
    pytest.param("cuda", marks=pytest.mark.gpu),
)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", sorted(LIMITS.keys() - {"tests"}))
def test_part_passes(tmp_path: Path, name: str, device: str) -> None:
    on_cpu = device == "cpu"
    call = Call("tiny" if on_cpu else "1b", on_cpu, tmp_path)
    entry = start_part(name, call, LIMITS[name] * (CPU_LIMIT_FACTOR if on_cpu else 1))
    assert entry["exit_code"] == 0, entry
    assert entry["results"], entry
