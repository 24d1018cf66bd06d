"""Networks as files of transformers, in the number format of the weights that they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

MAX_SHARD = "5GB"  # of one file; the usual size on the hub


def save_network(network: Any, dtype: str | None, folder: Path) -> None:
    """Write weights and configuration to a folder.

    Args:
        network: A network of transformers. Its weights are converted, one by one and in place.
        dtype: torch's name of the number format, e.g. `bfloat16`; None is float32.
        folder: The folder, which may be there already.

    """
    convert(network, dtype)
    network.save_pretrained(folder, max_shard_size=MAX_SHARD)


def convert(network: Any, dtype: str | None) -> None:
    """Convert the weights in place, except those that their architecture keeps in float32."""
    import torch

    wanted = getattr(torch, dtype or "float32")
    kept = set(network._keep_in_fp32_modules_strict or ())
    if wanted is torch.float16:
        kept |= set(network._keep_in_fp32_modules or ())
    for name, parameter in network.named_parameters():
        if parameter.is_floating_point():
            is_kept = not kept.isdisjoint(name.split("."))
            parameter.data = parameter.data.to(torch.float32 if is_kept else wanted)
