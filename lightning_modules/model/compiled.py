"""Compile the layers that a network repeats (torch.compile), in place.

Layers of a kind share their compiled functions, so compiling takes as long for many layers as for
few. There is one for each way that a layer is called: by a pass that needs a gradient of the input
(the first layer of a frozen network does not), with padding to mask or without, and in validation:
five at most. Sizes are symbols in them, so that batches of other lengths do not compile again.

With `trainer.compile=auto` a short probe measures whether that pays: t seconds for a pass as it is,
u compiled, and c to compile. N passes to come save N (t - u), and the validations will compile once
more, which is taken to cost at most c again. So the layers stay compiled if N (t - u) > c.

Cost: some ten seconds for each of these functions, when it is first called in a process.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from lightning_modules.model.part import repeated_layers

if TYPE_CHECKING:
    from torch import nn

NUM_TIMED = 5
"""Passes that are timed."""
MIN_SECONDS = 300
"""A shorter training is not compiled: tens of seconds would be too large a part of it."""


def compile_layers(network: nn.Module) -> bool:
    """Compile the layers when they are first used; return whether there are any."""
    layers = repeated_layers(network)
    for layer in layers:
        if layer._compiled_call_impl is None:
            layer.compile(dynamic=True)
    return bool(layers)


def uncompile_layers(network: nn.Module) -> None:
    """Let the layers run as they are written again."""
    for layer in repeated_layers(network):
        layer._compiled_call_impl = None


def has_compiler() -> bool:
    """Return whether this machine has the C++ compiler that torch.compile needs, on any device."""
    return any(map(shutil.which, (os.environ.get("CXX", "g++"), "g++", "clang++")))


@dataclass(frozen=True)
class Probed:
    """What a probe measured, in seconds.

    Attributes:
        plain: A pass through the network as it is written.
        compiled: A pass through compiled layers; None if so short a training was not compiled.
        compiling: The first of these passes, which compiles.
        num_passes: How many passes the training has left.

    """

    plain: float
    compiled: float | None
    compiling: float
    num_passes: int

    @property
    def pays(self) -> bool:
        """Whether the layers stay compiled.

        >>> Probed(0.2, 0.1, 30, 1000).pays, Probed(0.2, 0.1, 30, 200).pays
        (True, False)
        """
        if self.compiled is None:
            return False
        return self.num_passes * (self.plain - self.compiled) > self.compiling

    def __str__(self) -> str:
        left = f"{self.num_passes} passes of {self.plain:.2g} s"
        if self.compiled is None:
            return f"layers are not compiled: {left} are too few to pay for it"
        are = "compiled" if self.pays else "not compiled"
        return (
            f"layers are {are}: {left} take {self.compiled:.2g} s each compiled, and compiling "
            f"took {self.compiling:.0f} s"
        )


def probe(
    network: nn.Module,
    run_pass: Callable[[], object],
    num_passes: int,
    clock: Callable[[], float] = time.monotonic,
) -> Probed:
    """Return whether compiling the layers pays; they are left compiled if it does.

    Args:
        network: The network.
        run_pass: Runs a forward and backward pass, and waits for it.
        num_passes: How many passes the training has left.
        clock: Returns the time in seconds.

    """

    def seconds() -> float:
        start = clock()
        run_pass()
        return clock() - start

    run_pass()  # the first also allocates what libraries keep
    plain = median(seconds() for _ in range(NUM_TIMED))
    if plain * num_passes < MIN_SECONDS or not compile_layers(network):
        return Probed(plain, None, 0.0, num_passes)
    try:
        compiling = seconds()
        compiled = median(seconds() for _ in range(NUM_TIMED))
    except BaseException:
        uncompile_layers(network)  # if memory ran out, training continues without
        raise
    probed = Probed(plain, compiled, compiling, num_passes)
    if not probed.pays:
        uncompile_layers(network)
    return probed
