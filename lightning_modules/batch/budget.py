"""How many tokens fit into one forward and backward pass: a short probe on the device.

    peak(n) = fixed + n * per_token

`fixed` are e.g. the gradients of the trained weights, and n * per_token what n tokens keep for the
backward pass. Both follow from the measured peaks of one and of two of the longest examples. For
shorter examples the limit is safe, because attention keeps at most as much per token.

Cost: three passes over one or two examples, once per run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Protocol

from lightning_modules.machine.memory import unless_out_of_memory

USED = 0.9
"""The share of the free memory that a pass may take."""


class Memory(Protocol):
    """The memory of a device on which peaks can be measured."""

    def free_bytes(self) -> int:
        """Return how many bytes this process can still allocate."""

    def peak_bytes(self, act: Callable[[], object]) -> int:
        """Return the most bytes that were allocated at once during `act`, over those before it."""


def probed_tokens(
    memory: Memory, run_pass: Callable[[int], bool], width: int, reserved_bytes: int
) -> int | None:
    """Return the most tokens that fit into one pass; None if one example does not.

    Args:
        memory: The device's memory.
        run_pass: Runs a forward and backward pass over this many examples, keeps nothing of it, and
            returns True.
        width: Tokens of each example.
        reserved_bytes: Memory that will be needed besides, e.g. for the optimizer's state.

    """

    def peak(num_examples: int) -> int | None:
        act = partial(run_pass, num_examples)
        return unless_out_of_memory(lambda: memory.peak_bytes(act))

    # The first pass also allocates what libraries keep.
    if peak(1) is None or (one := peak(1)) is None:
        return None
    if (two := peak(2)) is None:
        return width
    return fitting_tokens(one, two, width, USED * memory.free_bytes() - reserved_bytes)


def fitting_tokens(one: int, two: int, width: int, free_bytes: float) -> int:
    """Return the most tokens whose pass takes `free_bytes`, but at least `width`.

    It is rounded down to a power of two: then a little more or less free memory does not change how
    batches are split, and with that the dropout.

    >>> fitting_tokens(one=3_000, two=5_000, width=100, free_bytes=100_000)
    4096

    Args:
        one: Peak bytes of a pass over one example.
        two: Peak bytes of a pass over two examples.
        width: Tokens of each example.
        free_bytes: Free bytes.

    """
    per_token = max(1, two - one) / width
    tokens = width + (free_bytes - one) / per_token
    return width if tokens < 2 * width else max(width, 2 ** int(math.log2(tokens)))
