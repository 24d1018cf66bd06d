"""Let an exported head give numbers in the unit of the rows, for plain transformers.

A task that learnt z = (y - m) / s predicts m + s (w h + b) = (s w) h + (s b + m), with h what the
head's last layer reads: its weights become s w, and its bias s b + m. Where that layer has no bias
(most decoders), or is not written in float32 (a bias of 2000 in bf16 is right to 8), or where m has
too many digits for it (`regression.DISTANT`), the network stays as it is; the manifest and the
lines of the model card have m and s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning_modules.strategy.adapter.base import answers
from lightning_modules.task.regression import DISTANT

if TYPE_CHECKING:
    from torch import nn

    from lightning_modules.task.base import Task

CENTERED = {"center": 0.0, "scale": 1.0}


def with_head_in_unit(network: Any, task: Task, dtype: str | None) -> Task:
    """Return the task for the network as it is written; its last layer may be changed in place.

    Args:
        network: The trained network.
        task: Its task.
        dtype: torch's name of the number format in which it is written; None is float32.

    """
    if task.shift_and_scale is None or dtype not in (None, "float32"):
        return task
    layer = _last_layer(network)
    if layer is None or layer.bias is None or str(layer.weight.dtype) != "torch.float32":
        return task
    center, scale = task.shift_and_scale
    if abs(center) > DISTANT * scale:
        return task
    before = _output(network)
    kept = [tensor.detach().clone() for tensor in (layer.weight, layer.bias)]
    layer.weight.data *= scale
    layer.bias.data = layer.bias.data * scale + center
    if before is not None:
        error = abs(_output(network) - (before * scale + center))
        if error > 1e-3 * scale + 1e-5 * abs(center):  # it was not the last layer
            layer.weight.data, layer.bias.data = kept
            return task
    return task.from_state(CENTERED)


def _last_layer(network: Any) -> Any:
    """Return the linear layer with one output that is trained and in no list of layers."""
    from torch import nn

    lists = [name for name, part in network.named_modules() if isinstance(part, nn.ModuleList)]
    inner = tuple(f"{name}." for name in lists)
    found: list[nn.Linear] = [
        part
        for name, part in network.named_modules()
        if isinstance(part, nn.Linear)
        and part.out_features == 1
        and not name.startswith(inner)
        and "original_module" not in name.split(".")  # what PEFT keeps of an untrained head
    ]
    return found[0] if len(found) == 1 else None


def _output(network: Any) -> Any:
    """Return the network's output for a short text; None for one that is not of transformers."""
    if not hasattr(network, "config"):
        return None  # frozen features, whose head is the last layer
    return answers(network)[0].flatten()[0].double().item()
