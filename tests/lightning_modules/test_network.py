from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lightning_modules.cache import Cache
from lightning_modules.folder import BEST_FILE
from lightning_modules.model.share import sharing_copy
from lightning_modules.model.tiny import Tiny
from lightning_modules.module import FineTuner
from lightning_modules.network import build_network, build_tokenizer
from tests.training import tiny_run, train

LABELS = ("negative", "positive")


def values(network: Any) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def take_a_step(network: Any) -> None:
    """Train on one batch, at a learning rate that changes every trained parameter."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    ids_BT = torch.arange(1, 13).reshape(2, 6)
    network.train()
    loss = network(input_ids=ids_BT, labels=torch.tensor([0, 1])).loss
    loss.backward()
    torch.optim.SGD(trained, lr=1.0).step()


@pytest.mark.parametrize("strategy", ["full", "lora", "bitfit"])
def test_training_a_network_leaves_the_cached_one_unchanged(learnable: Path, strategy: str) -> None:
    run, cache = tiny_run(learnable, f"strategy={strategy}"), Cache()
    first = build_network(run, LABELS, cache)
    before = values(first)
    take_a_step(first)
    assert not equal(values(first), before)
    second = build_network(run, LABELS, cache)
    assert equal(values(second), before)
    assert places(first, trained=True).isdisjoint(places(second, trained=True))
    assert places(first, trained=False) == places(second, trained=False)


def test_a_copy_has_dictionaries_of_its_own() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout())
    copied = sharing_copy(network)
    for one, other in zip(network.modules(), copied.modules(), strict=True):
        held = {name: value for name, value in vars(one).items() if isinstance(value, dict)}
        assert len(held) > 5
        for name, value in held.items():
            copied_value = vars(other)[name]
            assert copied_value is not value and type(copied_value) is type(value)
            assert copied_value.keys() == value.keys()


def places(network: torch.nn.Module, *, trained: bool) -> set[int]:
    """Return where the trained or the frozen parameters are in memory."""
    return {each.data_ptr() for each in network.parameters() if each.requires_grad == trained}


@pytest.mark.parametrize("strategy", ["lora", "bitfit"])
def test_a_run_after_others_on_the_same_weights_equals_the_run_alone(
    learnable: Path, here: Path, strategy: str
) -> None:
    short = ("trainer.max_steps=4", "strategy.lr=1e-2")
    run = tiny_run(learnable, f"strategy={strategy}", *short)
    others = [
        tiny_run(learnable, "strategy=lora", "strategy.rank=2", "strategy.dropout=0.5", *short),
        tiny_run(learnable, "strategy=ia3", *short),
        tiny_run(learnable, "strategy=freeze", *short),
    ]
    alone = train(run, here / "alone")
    cache = Cache()
    for number, other in enumerate(others):
        train(other, here / str(number), cache=cache)
    after = train(run, here / "after", cache=cache)
    assert alone.best is not None
    assert after.best == replace(alone.best, seconds=after.best.seconds if after.best else 0)
    one, other_weights = (load_file(here / name / BEST_FILE) for name in ("alone", "after"))
    assert equal(one, other_weights)


def test_a_trained_network_is_not_moved_off_its_device(
    learnable: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves: list[str] = []
    monkeypatch.setattr(FineTuner, "cpu", lambda tuner: moves.append("cpu"))
    train(tiny_run(learnable, "strategy=lora", "trainer.max_steps=2"), here / "run")
    assert not moves


def test_a_network_in_which_nothing_is_drawn_serves_every_seed(learnable: Path) -> None:
    cache = Cache()
    for seed in (0, 1):
        run = tiny_run(learnable, "strategy=lora", f"seed={seed}")
        drawn = replace(run, model=_Drawn(**vars(run.model)))
        build_network(drawn, LABELS, cache)
        build_network(run, LABELS, cache)
    networks = [key for key in cache._values if isinstance(key, tuple) and key[0] == "networks"]
    assert len(networks) == 3


@dataclass(frozen=True, kw_only=True)
class _Drawn(Tiny):
    """A tiny model that stands for one whose file has every weight."""

    def load_network(self, auto_class: str, **config: Any) -> Any:
        network: Any = super().load_network(auto_class, **config)
        network.drawn = frozenset()
        return network


def test_strategies_that_load_alike_share_one_cached_network(
    learnable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, lora = tiny_run(learnable), tiny_run(learnable, "strategy=lora")
    num_loads = 0
    load = type(full.strategy).load

    def counting(*arguments: Any) -> Any:
        nonlocal num_loads
        num_loads += 1
        return load(*arguments)

    for strategy in (full.strategy, lora.strategy):
        monkeypatch.setattr(type(strategy), "load", counting)
    cache = Cache()
    build_network(full, LABELS, cache)
    adapted = build_network(lora, LABELS, cache)
    assert num_loads == 1
    assert any("lora" in name for name in adapted.state_dict())
    assert not any("lora" in name for name in build_network(full, LABELS, cache).state_dict())
    build_network(full, LABELS[:1], cache)  # another head
    assert num_loads == 2


def test_new_weights_depend_on_the_seed_alone(learnable: Path) -> None:
    first = values(build_network(tiny_run(learnable), LABELS, Cache()))
    torch.rand(7)  # earlier draws of the process must not matter
    assert equal(values(build_network(tiny_run(learnable), LABELS, Cache())), first)
    assert not equal(values(build_network(tiny_run(learnable, "seed=1"), LABELS, Cache())), first)


def test_building_does_not_change_the_random_state_of_the_process(learnable: Path) -> None:
    before = torch.get_rng_state()
    build_network(tiny_run(learnable), LABELS, Cache())
    assert torch.equal(torch.get_rng_state(), before)


def test_runs_of_one_model_share_its_tokenizer(learnable: Path) -> None:
    cache = Cache()
    tokenizer = build_tokenizer(tiny_run(learnable), (), cache)
    assert build_tokenizer(tiny_run(learnable, "strategy=lora", "seed=1"), (), cache) is tokenizer
