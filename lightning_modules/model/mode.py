"""Evaluation mode of a network for a while, and the mode of each of its modules back afterwards.

A class may do more than set a flag when it is switched: PEFT's DoRA layers forget the norms that
they keep in evaluation mode, and transformers exchanges kernels. So modules are switched by calls
of `train`, both ways; flags are set only where such a call leaves another mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Switch dropout off while the context is open."""
    restore = switch(network, training=False)
    try:
        yield
    finally:
        restore()


def switch(network: nn.Module, *, training: bool) -> Callable[[], None]:
    """Put a network into training or evaluation mode; return what gives each module its own back.

    Not a context for everyone: one that is left open would be closed whenever it is collected.
    """
    modes = [(module, module.training) for module in network.modules()]
    network.train(training)

    def restore() -> None:
        for module, mode in modes:  # each before those inside it, which follow it
            if module.training != mode:
                module.train(mode)
        for module, mode in modes:
            module.training = mode

    return restore
