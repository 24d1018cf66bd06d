"""The ranks of a run: one process per device, each training on its share of every batch.

The gradient of a batch's loss is the sum of the gradients of its shares' losses, each divided by
the number of targets in the whole batch. So every rank processes its share in any number of
backward passes, the gradients are summed over the ranks once per step, and all ranks clip and
step identically. The result differs from micro-batches on one rank only by rounding.

Only rank 0 decides, writes and reports. The others wait for it before each step, on a pipe that
needs no timeout because it closes when rank 0 ends. Tensors are exchanged through Gloo on the
loopback device, or through NCCL between GPUs, in process groups of their own: torch's default
group would be visible to every library that checks whether training is distributed.

Cost: one sum over ranks of the trained parameters' gradients per step, and a copy of one bucket.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed
from torch import Tensor, nn

from lightning_modules.model.state import trained_tensors

if TYPE_CHECKING:
    from lightning_modules.batch.type import Batch
    from lightning_modules.machine.lightning import Precision

# Ranks start a step together, so this only ends one that hangs; a dead rank is noticed at once.
COLLECTIVE_TIMEOUT = timedelta(minutes=10)
BUCKET_VALUES = 2**24


class Lost(RuntimeError):
    """Another rank has died, or does not answer."""


@dataclass(frozen=True)
class Validated:
    """One rank's part of a validation.

    Attributes:
        parts: The task's observations for the rank's share of each batch; None if it is empty.
        loss_sum: The loss summed over the targets in these shares.
        num_targets: The number of these targets.

    """

    parts: Sequence[dict[str, Tensor] | None]
    loss_sum: float
    num_targets: float


class Rank:
    """The only rank of a run on one device."""

    index = 0
    """The rank's number; 0 leads."""

    @property
    def decides(self) -> bool:
        """Whether this is the rank whose decisions count."""
        return self.index == 0

    @property
    def seed_names(self) -> tuple[str | int, ...]:
        """The names that, besides the step, seed this rank's dropout."""
        return ("rank", self.index) if self.index else ()

    def synchronize(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, precision: Precision
    ) -> None:
        """Copy rank 0's trained tensors, optimizer state and scale of the loss to every rank."""

    def agree(self, value: int | None) -> int | None:
        """Return rank 0's value."""
        return value

    def proceed(self) -> None:
        """Start a step or a validation together; raise Stopped if rank 0 has ended the run."""

    def share(self, batch: Batch) -> Batch:
        """Return this rank's rows of the batch; possibly none."""
        return batch

    def sum_gradients(self, network: nn.Module, loss: Tensor) -> Tensor:
        """Sum the gradients over all ranks, in place; return the sum of the losses."""
        return loss

    def gather(self, validated: Validated) -> list[Validated] | None:
        """Return every rank's part, in order, on rank 0; None on the others."""
        return [validated]


class GroupRank(Rank):
    """One rank of several."""

    def __init__(self, index: int, num_ranks: int, collective: Collective) -> None:
        self.index = index
        self._num_ranks = num_ranks
        self._collective = collective

    def synchronize(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, precision: Precision
    ) -> None:
        self._collective.broadcast(list(trained_tensors(network).values()))

    def share(self, batch: Batch) -> Batch:
        return share_of(batch, self.index, self._num_ranks)

    def sum_gradients(self, network: nn.Module, loss: Tensor) -> Tensor:
        # A rank without rows has no gradients, and must add zeros. A parameter without a gradient
        # on any rank must stay without one, so that the optimizer skips it. These counts are summed
        # on the CPU, which does not synchronize a GPU.
        trained = [p for p in network.parameters() if p.requires_grad]
        num_reached = torch.tensor([float(p.grad is not None) for p in trained])
        self._collective.sum_on_cpu(num_reached)
        reached = [p for p, num in zip(trained, num_reached.tolist(), strict=True) if num]
        for parameter in reached:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        loss = loss.detach().clone()
        self._collective.sum([loss, *(p.grad for p in reached if p.grad is not None)])
        return loss


def share_of(batch: Batch, index: int, num_ranks: int) -> Batch:
    """Return the rows of rank `index`; shares are contiguous, and their sizes differ by at most 1.

    >>> rows = {"labels": torch.arange(5)}
    >>> [share_of(rows, index, 3)["labels"].tolist() for index in range(3)]
    [[0], [1, 2], [3, 4]]
    """
    num_rows = len(next(iter(batch.values())))
    start, end = num_rows * index // num_ranks, num_rows * (index + 1) // num_ranks
    return {name: tensor[start:end] for name, tensor in batch.items()}


class Collective:
    """Sums and copies over all ranks; all ranks must construct it at the same time.

    Args:
        rendezvous: A path that all ranks can access; the file must not exist yet.
        index: This rank's number.
        num_ranks: The number of ranks.
        device: The device that this rank trains on.

    """

    def __init__(self, rendezvous: str, index: int, num_ranks: int, device: torch.device) -> None:
        distributed: Any = torch.distributed
        with _raising_lost():
            store = distributed.FileStore(rendezvous, num_ranks)
            options = distributed.ProcessGroupGloo._Options()
            # By default Gloo listens on the address of the host name, which others may reach.
            options._devices = [distributed.ProcessGroupGloo.create_device(hostname="127.0.0.1")]
            options._timeout = COLLECTIVE_TIMEOUT
            gloo = distributed.PrefixStore("gloo", store)
            self._cpu: Any = distributed.ProcessGroupGloo(gloo, index, num_ranks, options)
            self._device: Any = self._cpu
            if device.type == "cuda":
                torch.cuda.set_device(device)
                nccl = distributed.PrefixStore("nccl", store)
                options = distributed.ProcessGroupNCCL.Options()
                options._timeout = COLLECTIVE_TIMEOUT
                self._device = distributed.ProcessGroupNCCL(nccl, index, num_ranks, options)

    def sum_on_cpu(self, tensor: Tensor) -> None:
        """Sum a CPU tensor over all ranks, in place."""
        with _raising_lost():
            self._cpu.allreduce([tensor]).wait()

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Sum each tensor over all ranks, in place; types and shapes must agree between ranks."""
        for bucket in buckets(tensors, BUCKET_VALUES):
            joined = torch.cat([tensor.reshape(-1) for tensor in bucket])
            with _raising_lost():
                self._device.allreduce([joined]).wait()
            parts = torch.split(joined, [tensor.numel() for tensor in bucket])
            for tensor, part in zip(bucket, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Copy rank 0's values into the tensors of every rank."""
        for tensor in tensors:
            with _raising_lost():
                self._device.broadcast(tensor, 0).wait()

    def close(self) -> None:
        """Close the connections; a rank that waits for this one raises Lost."""
        if self._device is not self._cpu:
            self._device.abort()
        self._cpu = self._device = None


def buckets(tensors: Sequence[Tensor], num_values: int) -> Iterator[list[Tensor]]:
    """Split the sequence into buckets of one type and, if possible, at most `num_values` values.

    >>> [len(each) for each in buckets([torch.zeros(n) for n in (2, 2, 9, 1, 1)], 4)]
    [2, 1, 2]
    """
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and (size + tensor.numel() > num_values or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.numel()
    if bucket:
        yield bucket


@contextmanager
def _raising_lost() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch's only type for a closed connection or a timeout
        raise Lost(str(error).splitlines()[0]) from error
