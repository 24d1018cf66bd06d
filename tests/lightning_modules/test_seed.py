from __future__ import annotations

import pytest
import torch

from lightning_modules.seed import seed_device, seed_of, seeded


def test_a_seed_is_the_same_on_every_machine() -> None:
    assert seed_of(0, "order", 3) == 2723741169552378311


def test_seeds_differ_by_run_purpose_and_counter() -> None:
    seeds = {
        seed_of(seed, purpose, counter)
        for seed in range(10)
        for purpose in ("order", "step")
        for counter in range(10)
    }
    assert len(seeds) == 200


def test_a_seed_fits_into_63_bits() -> None:
    assert all(0 <= seed_of(number) < 2**63 for number in range(1000))


def test_equal_seeds_draw_the_same_numbers() -> None:
    with seeded(1, "head"):
        first = torch.rand(4)
    with seeded(1, "head"):
        second = torch.rand(4)
    with seeded(1, "fit"):
        other = torch.rand(4)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_seeded_restores_the_random_state_afterwards() -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    with seeded(1, "head"):
        torch.rand(100)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("name", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_seed_device_draws_the_same_numbers_as_manual_seed(name: str) -> None:
    device = torch.device(name)
    torch.manual_seed(7)
    expected = torch.rand(3), torch.rand(3, device=device)
    torch.manual_seed(8)
    seed_device(device, 7)
    assert torch.equal(torch.rand(3), expected[0])
    assert torch.equal(torch.rand(3, device=device), expected[1])
