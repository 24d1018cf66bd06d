"""How much of a batch passes through the network at once."""

from __future__ import annotations

import pytest

from lightning_modules.batch.micro import Limit
from lightning_modules.outcome import Ending, Stopped


@pytest.mark.parametrize(
    ("limit", "width", "size"),
    [
        (Limit(), 5000, 64),
        (Limit(examples=10), 5000, 10),
        (Limit(tokens=8192), 128, 64),
        (Limit(tokens=8192), 129, 63),
        (Limit(tokens=8192), 2048, 4),
        (Limit(tokens=8192), 9000, 1),  # longer than the limit: alone
        (Limit(examples=3, tokens=8192), 2048, 3),
    ],
)
def test_a_limit_of_tokens_lets_fewer_long_examples_pass(
    limit: Limit, width: int, size: int
) -> None:
    assert limit.size(64, width) == size


def test_half_of_what_did_not_fit_is_the_next_limit() -> None:
    assert Limit(tokens=8192).halved(6, 1000) == Limit(tokens=3000)
    assert Limit(tokens=3000).size(6, 500) == 6  # twice as many of half the length
    assert Limit(examples=9).halved(9, 1000) == Limit(examples=4)
    assert Limit().halved(32, 1000) == Limit(examples=16)


def test_one_example_that_does_not_fit_ends_the_run() -> None:
    with pytest.raises(Stopped) as caught:
        Limit(tokens=8192).halved(1, 9000)
    assert caught.value.ending is Ending.infeasible
    assert caught.value.reason == "one example of 9000 tokens does not fit into memory"
