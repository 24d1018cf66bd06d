"""What the ranks of a run do together: a process a device, each training its slice of every batch.

The gradient of a batch's loss is the sum of those of its slices, each divided by the targets of
the whole batch. So every rank goes through its slice in any number of backward passes, the
gradients are summed over the ranks once a step, and then all ranks clip and step identically.
What a run computes differs from one rank's micro-batches by rounding alone.

Rank 0 alone decides, writes and is heard of; the others do a step when it says so, through a
pipe that may wait for ever: it ends with rank 0. Numbers go through Gloo on the loopback device,
or NCCL between GPUs, in groups of this run's own: torch's process-wide group would be seen by
every library that asks whether training is distributed.

Cost: a sum of the trained values' gradients a step, and a copy of one bucket of them.
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

# Ranks begin a step together, so this only ends one that hangs; a dead one is noticed at once.
COLLECTIVE_TIMEOUT = timedelta(minutes=10)
BUCKET_VALUES = 2**24


class Lost(RuntimeError):
    """Another rank is gone, or does not answer."""


@dataclass(frozen=True)
class Validated:
    """What a rank found in a validation.

    Attributes:
        parts: What the task observed of the rank's share of each batch, None of an empty share.
        loss_sum: The loss summed over the targets of these shares.
        num_targets: How many they are.

    """

    parts: Sequence[dict[str, Tensor] | None]
    loss_sum: float
    num_targets: float


class Rank:
    """One rank alone, which has nobody to agree with."""

    index = 0
    """This rank's number."""

    @property
    def decides(self) -> bool:
        """Say whether this is the rank whose decisions count."""
        return self.index == 0

    @property
    def stream(self) -> tuple[str | int, ...]:
        """The names that, beside the step, this rank's dropout is drawn for."""
        return ("rank", self.index) if self.index else ()

    def align(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Give every rank the trained tensors and the optimizer's state of rank 0."""

    def go(self) -> None:
        """Begin a step or a validation together; raises Stopped where rank 0 has ended the run."""

    def share(self, batch: Batch) -> Batch:
        """Return this rank's rows of the batch, which may be none."""
        return batch

    def sum_gradients(self, network: nn.Module, loss: Tensor) -> Tensor:
        """Sum the gradients over all ranks, in place, and return the sum of the losses."""
        return loss

    def gather(self, found: Validated) -> list[Validated] | None:
        """Return what each rank found on rank 0, None on the others."""
        return [found]


class GroupRank(Rank):
    """A rank among others."""

    def __init__(self, index: int, num_ranks: int, collective: Collective) -> None:
        self.index = index
        self._num_ranks = num_ranks
        self._collective = collective

    def align(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._collective.copy_first(list(trained_tensors(network).values()))

    def share(self, batch: Batch) -> Batch:
        return share_of(batch, self.index, self._num_ranks)

    def sum_gradients(self, network: nn.Module, loss: Tensor) -> Tensor:
        # A rank without a row has no gradient; a parameter that nothing reached has none on any
        # rank, and the optimizer must leave it alone. Known on the CPU, so no GPU is waited for.
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
    """Return the rows of rank `index`: shares are contiguous, in order and differ by one at most.

    >>> rows = {"labels": torch.arange(5)}
    >>> [share_of(rows, index, 3)["labels"].tolist() for index in range(3)]
    [[0], [1, 2], [3, 4]]
    """
    num_rows = len(next(iter(batch.values())))
    begin, end = num_rows * index // num_ranks, num_rows * (index + 1) // num_ranks
    return {name: tensor[begin:end] for name, tensor in batch.items()}


class Collective:
    """Sums and copies over all ranks; made by all of them at the same time.

    Args:
        meeting: A path that all ranks see, where there is no file yet.
        index: This rank's number.
        num_ranks: How many there are.
        device: Where this rank trains.

    """

    def __init__(self, meeting: str, index: int, num_ranks: int, device: torch.device) -> None:
        distributed: Any = torch.distributed
        with _raising_lost():
            store = distributed.FileStore(meeting, num_ranks)
            options = distributed.ProcessGroupGloo._Options()
            # The default device is that of the host's name, which other hosts may reach.
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
        """Sum each tensor over all ranks, in place; of the same types and shapes on each."""
        for bucket in buckets(tensors, BUCKET_VALUES):
            joined = torch.cat([tensor.reshape(-1) for tensor in bucket])
            with _raising_lost():
                self._device.allreduce([joined]).wait()
            parts = torch.split(joined, [tensor.numel() for tensor in bucket])
            for tensor, part in zip(bucket, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

    def copy_first(self, tensors: Sequence[Tensor]) -> None:
        """Copy rank 0's values into each tensor."""
        for tensor in tensors:
            with _raising_lost():
                self._device.broadcast(tensor, 0).wait()

    def close(self) -> None:
        """Cut the connections; whoever waits for this rank raises Lost."""
        if self._device is not self._cpu:
            self._device.abort()
        self._cpu = self._device = None


def buckets(tensors: Sequence[Tensor], num_values: int) -> Iterator[list[Tensor]]:
    """Cut the sequence where the type changes, or where a bucket would exceed `num_values`.

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
    except RuntimeError as error:  # whatever torch calls a closed connection or a timeout
        raise Lost(str(error).splitlines()[0]) from error
