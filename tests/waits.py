"""Notice where a training step would make the host wait for a GPU, without a GPU.

What a step computes from the weights and the batch would be on the device, and so would all that
follows from it. A host that reads such a tensor, or the number of its nonzero values, waits until
the device has computed it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from pytorch_lightning.core.hooks import DataHooks
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from lightning_modules.hooks import Hooks
from lightning_modules.module import FineTuner

READS = {
    Tensor.cpu,
    Tensor.tolist,
    Tensor.numpy,
    Tensor.item,
    Tensor.__bool__,
    Tensor.__float__,
    Tensor.__int__,
    Tensor.__index__,
}
SIZED_BY_VALUES = {"nonzero", "masked_select", "_unique2", "unique_consecutive", "unique_dim"}
OUTSIDE = ("/torch/", "/pytorch_lightning/", "/lightning_fabric/", "/tests/", "/contextlib.py")


class Waits(Hooks):
    """The places that read a tensor of the device, by what the run was doing."""

    def __init__(self) -> None:
        self.places: dict[str, set[str]] = {}
        self.phases: set[str] = set()
        self._doing = ""
        self._storages: dict[int, Any] = {}  # kept alive, so that no place in memory is used again

    def heartbeat(self, doing: str) -> None:
        self._doing = doing
        self.phases.add(doing)

    def put(self, value: Any) -> Any:
        """Note that the tensors in a value are on the device."""
        for each in tree_leaves(value):
            if isinstance(each, Tensor) and each.layout is torch.strided:
                storage = each.untyped_storage()
                self._storages[storage._cdata] = storage
        return value

    def has(self, value: Any) -> bool:
        """Return whether a value has a tensor that is on the device."""
        tensors = (each for each in tree_leaves(value) if isinstance(each, Tensor))
        return any(each.untyped_storage()._cdata in self._storages for each in tensors)

    def note(self) -> None:
        """Note who reads: the innermost frame that is not torch's or Lightning's."""
        frame: Any = sys._getframe(1)
        while any(part in frame.f_code.co_filename for part in OUTSIDE):
            frame = frame.f_back
        parts = Path(frame.f_code.co_filename).parts
        root = next(name for name in ("lightning_modules", "transformers", "peft") if name in parts)
        place = "/".join(parts[parts.index(root) :])
        self.places.setdefault(self._doing, set()).add(f"{place} in {frame.f_code.co_name}")

    @contextmanager
    def watching(self) -> Iterator[Waits]:
        """Watch what is trained inside the block."""
        start, transfer = FineTuner.on_train_start, DataHooks.transfer_batch_to_device

        def started(tuner: FineTuner) -> None:
            self.put([*tuner.network.parameters(), *tuner.network.buffers()])
            start(tuner)

        def transferred(module: Any, batch: Any, *place: Any) -> Any:
            copied = tree_map(torch.clone, transfer(module, batch, *place))
            return self.put(copied)

        with (
            patch.object(FineTuner, "on_train_start", started),
            patch.object(DataHooks, "transfer_batch_to_device", transferred),
            _Calls(self),
            _Kernels(self),
        ):
            yield self


class _Calls(TorchFunctionMode):
    """Notes the methods that read a tensor."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function in READS and self._waits.has(args[0]):
            self._waits.note()
        return function(*args, **(kwargs or {}))


class _Kernels(TorchDispatchMode):
    """Notes kernels with outputs of a size that depends on values; follows the device's tensors."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self._waits = waits

    def __torch_dispatch__(
        self, kernel: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = kernel(*args, **(kwargs or {}))
        if not self._waits.has((args, kwargs)):
            return result
        name = kernel.overloadpacket.__name__
        if name in SIZED_BY_VALUES or name == "_local_scalar_dense" or _is_masked(name, args):
            self._waits.note()
        return self._waits.put(result)


def _is_masked(name: str, args: Any) -> bool:
    if name not in ("index", "index_put", "index_put_"):
        return False
    return any(each is not None and each.dtype is torch.bool for each in args[1])
