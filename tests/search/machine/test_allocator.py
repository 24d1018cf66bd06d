from __future__ import annotations

import pytest

from search.machine.allocator import allocator
from search.machine.gpu import AMD, NVIDIA, Gpu

CARDS = [Gpu(NVIDIA, "0", "GPU-a")]


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF"):
        monkeypatch.delenv(name, raising=False)


def test_nvidias_gpus_get_segments_that_grow() -> None:
    assert allocator(CARDS) == {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}
    assert allocator([Gpu(AMD, "0", "AMD-a")]) == {}


@pytest.mark.parametrize("name", ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"])
def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "max_split_size_mb:128")
    assert allocator(CARDS) == {}
