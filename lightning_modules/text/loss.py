"""The loss of a network that writes: -log p of each target token, and never all logits at once.

    nats_n = -log softmax(logits_n)[y_n],  loss = sum_n nats_n,  n over the positions with a target

Only positions with a target have logits, and only a chunk of them at a time. If there are several
chunks, a chunk's gradients by its hidden states and by the output layer's trained weights are
computed with its loss. So nothing of size N * V is kept for the backward pass, and no logits are
computed twice, except for a loss that is no sum over the targets. If the output layer is unknown
(`lightning_modules.model.output`), the network computes all logits.

The idea: Wijmans et al. 2025, arXiv:2411.09009 (Cut Your Losses), and Hsu et al. 2024,
arXiv:2410.10989 (Liger Kernel), both as kernels for GPUs.
Cost: as the loss of all logits, with N in place of B * T; the memory of one chunk of logits in
float32; from the loss to its backward pass, a gradient of each trained weight of the output layer.

Shapes: B batch, T tokens, D width, V vocabulary, N positions with a target.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from lightning_modules.batch.type import IGNORED
from lightning_modules.machine.transfer import to_device
from lightning_modules.model.output import OutputLayer, output_layer

if TYPE_CHECKING:
    from torch import nn

_CHUNK_ON_CPU, _CHUNK_ON_DEVICE = 2**23, 2**26
"""Most logits of a chunk. On a CPU, 32 MiB in float32 are faster than more, and than less; a GPU
needs larger matrices."""


@dataclass(frozen=True)
class TargetLosses:
    """The losses of a batch's targets.

    Attributes:
        loss_sum: Their sum, in float32; differentiable if gradients are recorded.
        nats: Each target's loss (N,), in float32 and without gradient unless it was asked for.
        positions: The targets' positions in the flattened batch (N,).
        num_positions: B * T.

    """

    loss_sum: Tensor
    nats: Tensor
    positions: Tensor
    num_positions: int

    def per_row(self, num_rows: int) -> Tensor:
        """Return the summed loss of each of the batch's rows (B,), in float64."""
        spread = self.nats.new_zeros(self.num_positions).index_put((self.positions,), self.nats)
        return spread.view(num_rows, -1).double().sum(1)


def target_losses(
    network: nn.Module,
    inputs: Mapping[str, Any],
    labels_BT: Tensor,
    label_smoothing: float = 0.0,
    chunk_values: int | None = None,
    *,
    each: bool = False,
    labels_on_host: Tensor | None = None,
) -> TargetLosses:
    """Return the losses of the targets in `labels_BT`; `IGNORED` marks positions without one.

    Args:
        network: A network that writes, perhaps in PEFT's wrapper.
        inputs: What it is called with. Its outputs at virtual tokens before the text do not count.
        labels_BT: The target of each position.
        label_smoothing: Share of each target's probability that is spread over the vocabulary.
        chunk_values: Most logits at once; None chooses by the device.
        each: Whether `nats` is differentiable too, for a loss that is no sum over the targets. Then
            the backward pass computes the logits of each chunk again.
        labels_on_host: A copy of the labels on the host, where no GPU is waited for to find the
            targets.

    """
    if chunk_values is None:
        is_on_cpu = labels_BT.device.type == "cpu"
        chunk_values = _CHUNK_ON_CPU if is_on_cpu else _CHUNK_ON_DEVICE
    labels = labels_BT.flatten()
    read = labels if labels_on_host is None else labels_on_host.flatten()
    at_N = to_device((read != IGNORED).nonzero().flatten(), labels.device)
    labels_N = labels[at_N]
    layer = output_layer(network)
    if layer is None:
        logits_NV = _at_targets(network(**inputs).logits, labels_BT, at_N)
        nats_N = _nats(logits_NV, labels_N, label_smoothing)
        loss_sum = nats_N.sum()
    elif each:
        hidden_ND = _at_targets(layer.hidden(network, inputs), labels_BT, at_N)
        nats_N = _Chunks(layer, labels_N, label_smoothing, chunk_values).each(hidden_ND)
        loss_sum = nats_N.sum()
    else:
        hidden_ND = _at_targets(layer.hidden(network, inputs), labels_BT, at_N)
        chunks = _Chunks(layer, labels_N, label_smoothing, chunk_values)
        loss_sum, nats_N = chunks.losses(hidden_ND)
    return TargetLosses(loss_sum, nats_N if each else nats_N.detach(), at_N, len(labels))


def notes_of(network: nn.Module) -> Iterator[str]:
    """Yield a warning if the network's output layer is unknown."""
    if output_layer(network) is None:
        name = type(getattr(network, "get_base_model", lambda: network)()).__name__
        yield (
            f"{name} changes its logits in a way that finesweep does not know: the loss keeps the "
            "logits of all tokens of a micro-batch in memory"
        )


def _at_targets(tensor: Tensor, labels_BT: Tensor, at_N: Tensor) -> Tensor:
    """Return the vectors at the targets; virtual tokens before the text are none."""
    vectors = tensor[:, -labels_BT.shape[1] :].flatten(0, 1)
    return vectors if len(at_N) == len(vectors) else vectors.index_select(0, at_N)


def _nats(logits_NV: Tensor, labels_N: Tensor, label_smoothing: float) -> Tensor:
    # In float32 even under autocast: a sum of bf16 losses rounds small differences away.
    return cross_entropy(
        logits_NV.float(), labels_N, reduction="none", label_smoothing=label_smoothing
    )


@dataclass(frozen=True)
class _Chunks:
    """The loss of hidden states (N, D) with targets `labels` (N,), a chunk at a time."""

    layer: OutputLayer
    labels: Tensor
    label_smoothing: float
    chunk_values: int

    def losses(self, hidden_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Return the summed loss, which is differentiable, and each target's."""
        parts, inputs = self.parts(), (hidden_ND, *self.layer.trained)
        needs_gradients = torch.is_grad_enabled() and any(each.requires_grad for each in inputs)
        if needs_gradients and len(parts) > 1:
            apply: Any = _SummedLoss.apply
            loss_sum, nats_N = apply(self, *inputs)
            return loss_sum, nats_N
        nats_N = torch.cat([self.nats(part, hidden_ND[part]) for part in parts])
        return nats_N.sum(), nats_N

    def each(self, hidden_ND: Tensor) -> Tensor:
        """Return each target's loss, differentiable; keep no chunk's logits for the backward pass.

        The gradients by the trained weights are sums over the targets whose factors are known only
        in the backward pass.
        """
        parts = self.parts()
        if len(parts) == 1 or not torch.is_grad_enabled():
            return torch.cat([self.nats(part, hidden_ND[part]) for part in parts])
        again: Any = checkpoint  # untyped
        found = [again(self.nats, part, hidden_ND[part], use_reentrant=False) for part in parts]
        return torch.cat(found)

    def parts(self) -> list[slice]:
        """Return the chunks, at least one, of about equal size."""
        size = len(self.labels)
        most = max(1, self.chunk_values // self.layer.num_logits)
        number = max(1, -(-size // most))
        return [slice(size * at // number, size * (at + 1) // number) for at in range(number)]

    def nats(self, part: slice, hidden_ND: Tensor) -> Tensor:
        """Return the losses of one chunk's hidden states."""
        return _nats(self.layer(hidden_ND), self.labels[part], self.label_smoothing)


class _SummedLoss(torch.autograd.Function):
    """The summed loss of hidden states; its gradients are computed with it, chunk by chunk."""

    @staticmethod
    def forward(
        ctx: Any, chunks: _Chunks, hidden_ND: Tensor, *trained: Tensor
    ) -> tuple[Tensor, Tensor]:
        of_hidden = torch.empty_like(hidden_ND) if hidden_ND.requires_grad else None
        # In float32: a sum of many bf16 gradients rounds small ones away.
        of_trained = [torch.zeros_like(each, dtype=torch.float32) for each in trained]
        losses = []
        for part in chunks.parts():
            chunk = hidden_ND[part].detach().requires_grad_(hidden_ND.requires_grad)
            with torch.enable_grad():
                nats = chunks.nats(part, chunk)
                by = [each for each in (chunk, *trained) if each.requires_grad]
                found = list(torch.autograd.grad(nats.sum(), by, allow_unused=True))
            if of_hidden is not None:
                of_hidden[part] = found.pop(0)
            for total, each in zip(of_trained, found, strict=True):
                if each is not None:
                    total.add_(each)
            losses.append(nats.detach())
        nats_N = torch.cat(losses)
        ctx.mark_non_differentiable(nats_N)
        ctx.save_for_backward(
            of_hidden,
            *(total.to(each.dtype) for total, each in zip(of_trained, trained, strict=True)),
        )
        return nats_N.sum(), nats_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_sum: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        # In place, as the gradients of a large output layer exist once. Autograd refuses a second
        # backward pass through changed tensors.
        gradients = (None if each is None else each.mul_(of_sum) for each in ctx.saved_tensors)
        return (None, *gradients)
