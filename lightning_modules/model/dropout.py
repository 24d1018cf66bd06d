"""Turn dropout off in a network, or in a part of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

# Rates that layers pass to a function: in ModernBERT's and Llama's attention, and all of BART.
_RATES = ("attention_dropout", "activation_dropout", "dropout", "layerdrop")


def disable_dropout(part: nn.Module) -> None:
    """Disable dropout in place, e.g. in frozen layers, which have nothing to regularize.

    Dropout also takes a tenth of a step on a CPU, and it would draw random numbers that differ
    between a run on its own and the same run among others.
    """
    from torch import nn

    modules: Iterator[Any] = part.modules()
    for module in modules:
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in _RATES:
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
