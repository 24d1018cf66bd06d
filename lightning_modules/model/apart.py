"""Whether a network can keep documents in one row apart, shown by two passes over 24 tokens.

Most decoders of transformers derive from `position_ids` which tokens belong together, and mask the
others. Networks with a state (Mamba), with convolutions (LFM2), with distances in their attention
(BLOOM) or with virtual tokens before the text do not: a document depends on the one before it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_modules.machine.memory import is_out_of_memory
from lightning_modules.model.mode import evaluating
from lightning_modules.model.output import keeping_no_casts

SIZE = 8
_SAME, _CLOSE = 1e-6, 0.2
"""Largest relative differences. Masked tokens count exactly nothing; an untrained convolution may
count as little as 1e-5. Between passes of other shapes bf16 rounds differently, in each layer."""


def keeps_apart(network: Any) -> bool:
    """Return whether a document's outputs depend neither on the one before it nor on its place."""
    device = next(network.parameters()).device
    first, other, second = _tokens(network, device)
    positions = torch.arange(SIZE, device=device)
    rows = torch.stack([torch.cat([first, second]), torch.cat([other, second])])
    with evaluating(network), torch.no_grad(), keeping_no_casts(next(network.parameters())):
        try:
            after_first, after_other = _outputs(network, rows, torch.cat([positions, positions]))
            (alone,) = _outputs(network, second[None], positions)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            if is_out_of_memory(error):
                raise
            return False  # it takes no positions
    return (
        _difference(after_first, after_other) < _SAME and _difference(after_first, alone) < _CLOSE
    )


def _tokens(network: Any, device: torch.device) -> Tensor:
    """Return three different documents (3, SIZE)."""
    size: int = network.config.get_text_config(decoder=True).vocab_size
    return (torch.arange(3 * SIZE, device=device).view(3, SIZE) * 7 + 3) % size


def _outputs(network: Any, ids_BT: Tensor, positions_T: Tensor) -> Tensor:
    positions_BT = positions_T.expand(len(ids_BT), -1)
    output = network(input_ids=ids_BT, position_ids=positions_BT, use_cache=False)
    logits: Tensor = output.logits[:, -SIZE:].float()
    return logits


def _difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / one.norm())
