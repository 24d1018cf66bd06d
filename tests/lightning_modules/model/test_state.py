from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lightning_modules.model.state import (
    count_parameters,
    first_non_finite,
    num_bytes_of,
    restore_state,
    trained_state,
    trained_tensors,
)


class Counter(nn.Module):
    """A module whose buffer is trained."""

    trains_buffers = True

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(3))


class Network(nn.Module):
    """A trained head on a frozen body, with one trained buffer and one that is not."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.body, self.head, self.counter = nn.Linear(4, width), nn.Linear(width, 2), Counter()
        self.body.requires_grad_(requires_grad=False)
        self.register_buffer("scale", torch.ones(1))


TRAINED = {"head.weight", "head.bias", "counter.count"}


def test_trained_tensors_are_trained_parameters_and_trained_buffers() -> None:
    assert trained_tensors(Network()).keys() == TRAINED


def test_trained_state_copies_the_tensors() -> None:
    network = Network()
    state = trained_state(network)
    before = {name: tensor.clone() for name, tensor in state.items()}
    for tensor in trained_tensors(network).values():
        tensor.add_(1)
    assert state.keys() == TRAINED
    assert all(torch.equal(tensor, before[name]) for name, tensor in state.items())


def test_restore_state_restores_what_training_changed_and_nothing_else() -> None:
    network = Network()
    state = trained_state(network)
    body, other = network.body.weight.clone(), Network()
    frozen = other.body.weight.clone()
    restore_state(other, state)
    for name, tensor in trained_state(other).items():
        assert torch.equal(tensor, state[name]), name
    assert torch.equal(other.body.weight, frozen)
    assert torch.equal(network.body.weight, body)


def test_restore_state_shares_no_memory_with_the_state() -> None:
    network = Network()
    state = trained_state(network)
    restore_state(network, state)
    for tensor in trained_tensors(network).values():
        tensor.add_(1)
    assert torch.equal(state["counter.count"], torch.zeros(3))


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_restore_state_refuses_a_state_that_lacks_a_tensor(name: str) -> None:
    network = Network()
    state = trained_state(network)
    del state[name]
    with pytest.raises(KeyError, match=name.replace(".", r"\.")):
        restore_state(network, state)


def test_restore_state_refuses_the_tensors_of_another_network() -> None:
    network = Network()
    state = trained_state(network)
    with pytest.raises(KeyError, match=r"adapter\.weight"):
        restore_state(network, {**state, "adapter.weight": torch.zeros(1)})
    network.body.requires_grad_(requires_grad=True)  # trains more than was saved
    with pytest.raises(KeyError, match=r"body\.bias"):
        restore_state(network, state)
    with pytest.raises(RuntimeError):  # the same names in other shapes
        restore_state(Network(width=5), state)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_single_nan_or_infinite_value_is_found(value: float) -> None:
    state: dict[str, Tensor] = {"a": torch.zeros(3), "b": torch.zeros(2, 2), "c": torch.zeros(1)}
    assert first_non_finite(state) is None
    state["b"][1, 0] = value
    assert first_non_finite(state) == "b"


def test_bytes_are_counted_in_nested_values() -> None:
    values = {"step": 3, "tensors": [torch.zeros(5), (torch.zeros(3, dtype=torch.bfloat16), None)]}
    assert num_bytes_of(values) == 5 * 4 + 3 * 2


def test_parameters_are_counted_without_buffers() -> None:
    assert count_parameters(Network()) == (2 * 4 + 2, 2 * 4 + 2 + 4 * 4 + 4)
