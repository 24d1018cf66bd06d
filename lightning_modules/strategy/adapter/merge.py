"""Merge adapters into the weights that they adapt, without a second copy of the network."""

from __future__ import annotations

from typing import Any

from lightning_modules.machine.memory import return_buffers


def merged_in_place(network: Any) -> Any:
    """Return the plain network of a PEFT network, with the adapters merged, a layer at a time.

    Each sum is rounded once, to the dtype in which the layer's weight is held.
    Cost: besides the network, what one layer's sum takes in float32.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [each for each in network.modules() if isinstance(each, BaseTunerLayer)]
    for layer in layers:
        base: Any = layer.get_base_layer()
        dtype = base.weight.dtype
        layer.merge()
        base.weight.data = base.weight.data.to(dtype)
        return_buffers()  # else those of all sums would add up
    return network.unload()
