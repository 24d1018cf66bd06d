"""The limit that a probe of a device's memory finds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lightning_modules.batch.budget import fitting_tokens, probed_tokens

WIDTH = 512


class Card:
    """Stands in for a GPU: a pass takes `fixed` bytes and `per_token` for each of its tokens."""

    def __init__(self, free: int, fixed: int = 10_000, per_token: int = 100) -> None:
        self.free, self.fixed, self.per_token = free, fixed, per_token
        self.taken = 0

    def free_bytes(self) -> int:
        return self.free

    def peak_bytes(self, act: Callable[[], object]) -> int:
        act()
        return self.taken

    def run(self, num_examples: int) -> bool:
        self.taken = self.fixed + num_examples * WIDTH * self.per_token
        if self.taken > self.free:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return True

    def tokens(self, reserved_bytes: int = 0) -> int | None:
        return probed_tokens(self, self.run, WIDTH, reserved_bytes)


@pytest.mark.parametrize(
    ("free", "tokens"),
    [
        (10**9, 2**23),  # 0.9e9 / 100 = 9.0e6 tokens
        (10**6, 2**13),  # 8,900
        (190_000, 2 * WIDTH),  # 1,610
        (113_000, WIDTH),  # two fit, but take more than 90 %
        (100_000, WIDTH),  # two do not fit
        (60_000, None),  # one does not
    ],
)
def test_the_limit_takes_90_percent_of_the_free_memory(free: int, tokens: int | None) -> None:
    assert Card(free).tokens() == tokens


def test_memory_for_the_optimizer_is_left_free() -> None:
    assert Card(10**6).tokens(reserved_bytes=400_000) == 2**12


def test_a_little_more_or_less_free_memory_does_not_change_the_limit() -> None:
    assert {Card(free).tokens() for free in range(1_000_000, 1_500_000, 50_000)} == {2**13}


def test_a_limit_that_costs_nothing_per_token_is_finite() -> None:
    assert fitting_tokens(one=1000, two=1000, width=8, free_bytes=1e9) < 2**40
