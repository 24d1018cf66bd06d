"""A file of tensors has what was saved, and takes the memory of one tensor at a time."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lightning_modules.model.tensor_file import TensorFile

NUM_TENSORS, NUM_BYTES = 8, 2**24


def test_it_has_the_tensors_that_were_saved(tmp_path: Path) -> None:
    saved = {"a": torch.rand(3, 4), "b": torch.arange(5, dtype=torch.bfloat16)}
    save_file(saved, tmp_path / "x.safetensors")
    found = TensorFile(tmp_path / "x.safetensors")
    assert found.keys() == saved.keys() and len(found) == 2
    assert all(torch.equal(found[name], saved[name]) for name in saved)
    with pytest.raises(KeyError, match="c"):
        found["c"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory from /proc")
def test_pages_leave_the_memory_with_their_tensor(tmp_path: Path) -> None:
    names = [str(number) for number in range(NUM_TENSORS)]
    save_file({n: torch.ones(NUM_BYTES // 4) for n in names}, tmp_path / "x.safetensors")
    file = TensorFile(tmp_path / "x.safetensors")
    before, most = mapped_bytes(), 0
    for name in file:
        tensor = file[name]
        assert tensor.sum() == NUM_BYTES // 4  # which reads every page
        most = max(most, mapped_bytes() - before)
        del tensor
    assert NUM_BYTES <= most < 2 * NUM_BYTES


def mapped_bytes() -> int:
    """Return the bytes of mapped files that are in this process's memory."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith("RssFile:"))
    return 1024 * int(line.split()[1])
