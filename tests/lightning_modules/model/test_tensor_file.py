"""A network restored from a file has what was saved, at the cost of a piece of a tensor."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lightning_modules.model.state import trained_state
from lightning_modules.model.tensor_file import PIECE_BYTES, restore_file


class Network(nn.Module):
    """A large matrix, one with a single row, a vector and a number."""

    def __init__(self, num_rows: int) -> None:
        super().__init__()
        shapes = {"large": (num_rows, 1000), "row": (1, num_rows * 1000), "vector": (7,), "one": ()}
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.rand(shape)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_has_what_was_saved(dtype: torch.dtype, tmp_path: Path) -> None:
    saved = trained_state(Network(9000))
    assert saved["large"].nbytes > 2 * PIECE_BYTES
    save_file(saved, tmp_path / "x.safetensors")
    network = Network(9000).to(dtype)
    restore_file(network, tmp_path / "x.safetensors")
    found = trained_state(network)
    assert found.keys() == saved.keys()
    assert all(torch.equal(found[name], saved[name].to(dtype)) for name in saved)


def test_another_network_is_refused(tmp_path: Path) -> None:
    saved = trained_state(Network(9000))
    del saved["one"]
    save_file(saved, tmp_path / "x.safetensors")
    with pytest.raises(KeyError, match="one"):
        restore_file(Network(9000), tmp_path / "x.safetensors")
    save_file(trained_state(Network(9001)), tmp_path / "x.safetensors")
    with pytest.raises(AssertionError, match="large"):
        restore_file(Network(9000), tmp_path / "x.safetensors")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory from /proc")
def test_the_pages_of_a_piece_leave_the_memory_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file of 72 MB, two pieces of 17 MB at most, as one is opened before the other goes."""
    network = Network(9000)
    del network.row
    save_file(trained_state(network), tmp_path / "x.safetensors")
    most, before, copy = 0, mapped_bytes(), torch.Tensor.copy_

    def watched(to: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        nonlocal most
        copied = copy(to, source)
        most = max(most, mapped_bytes() - before)
        return copied

    monkeypatch.setattr(torch.Tensor, "copy_", watched)
    restore_file(network, tmp_path / "x.safetensors")
    assert PIECE_BYTES // 2 <= most < 2.2 * PIECE_BYTES


def mapped_bytes() -> int:
    """Return the bytes of mapped files that are in this process's memory."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith("RssFile:"))
    return 1024 * int(line.split()[1])
