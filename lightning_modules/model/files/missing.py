"""What a loaded network did not get from its file."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from lightning_modules.model.files.fault import AGAIN, Fault

_LAYER = re.compile(r"^(.*?(?:^|\.)(?:layers?|h|blocks?)\.)(\d+)(\..*)$")
_FILE = "model.safetensors"


def check_complete(network: Any, missing: Collection[str], mismatched: Collection[Any]) -> None:
    """Raise Fault if weights are missing that no training has left out on purpose.

    A head may be missing, or a whole part, e.g. a pooler, or a decoder's attention to an encoder. A
    tensor that other layers have, and the embeddings, may not: they would be drawn at random.
    """
    fix = "Bring config.json and weights from the same model."
    for name, found, wanted in sorted(mismatched):
        sizes = " x ".join(map(str, found)), " x ".join(map(str, wanted))
        raise Fault(_FILE, f"must have {name} of {sizes[1]}, as config.json says", sizes[0], fix)
    expected = network.state_dict().keys()
    for name in sorted(missing):
        match = _LAYER.match(name)
        if match is None:
            continue
        others = {
            each
            for each in expected
            if each.startswith(match[1]) and (m := _LAYER.match(each)) and m[3] == match[3]
        }
        if not others <= set(missing):
            raise Fault(_FILE, f"must have {name}, which other layers have", "none", AGAIN)
    try:
        embedding = network.get_input_embeddings()
    except NotImplementedError:  # of a few architectures with several
        return
    tied = set(getattr(network, "all_tied_weights_keys", {}))
    for name, module in network.named_modules():
        if module is embedding and f"{name}.weight" in set(missing) - tied:
            raise Fault(_FILE, f"must have the embeddings, {name}.weight", "none", fix)


def outputs_of(network: Any, mismatched: Collection[Any]) -> frozenset[str]:
    """Return the names of the weights with a row per label, of another number in the file."""
    prefix, number = f"{network.base_model_prefix}.", network.config.num_labels
    return frozenset(
        name
        for name, found, wanted in mismatched
        if wanted[0] == number and found[1:] == wanted[1:] and not name.startswith(prefix)
    )


def check_finite(network: Any, file: str = _FILE) -> None:
    """Raise Fault about the file if a weight of the network is NaN or infinite."""
    import torch

    dtypes = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
    for name, tensor in network.named_parameters():
        if tensor.dtype in dtypes and tensor.numel() and tensor.device.type != "meta":
            low, high = tensor.detach().aminmax()
            if not (low.isfinite() and high.isfinite()):
                raise Fault(file, f"must have finite numbers in {name}", "NaN or infinity")
