"""Build a run's tokenizer and network; what is loaded is cached."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lightning_modules.cache import Cache
from lightning_modules.machine.hardware import Precision
from lightning_modules.model.share import num_bytes, own_trained, sharing_copy
from lightning_modules.seed import seeded
from lightning_modules.strategy.base import Strategy

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from lightning_modules.machine.hardware import Hardware
    from lightning_modules.rows.corpus import Row
    from lightning_modules.run import Run

OTHER_BYTES = 2_000_000_000
"""How much the cached networks that are not in use may take together."""


def build_tokenizer(run: Run, rows: Sequence[Row], cache: Cache) -> PreTrainedTokenizerBase:
    """Return the run's tokenizer; `rows` are the training rows."""
    key: tuple[Hashable, ...] = ("tokenizer", run.strategy.cache_key, run.model)
    if run.strategy.trains_tokenizer:
        key = (*key, run.task.cache_key, run.data.rows_key)
    return cache.get_or_make(key, lambda: run.strategy.load_tokenizer(run.model, run.task, rows))


def build_network(
    run: Run,
    labels: Sequence[str],
    cache: Cache | None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    hardware: Hardware | None = None,
    rank: int = 0,
) -> nn.Module:
    """Return a new network for the run; new weights are drawn from the run's seed.

    Under a strategy that keeps frozen weights as they are, the network is on the device, and
    shares these with the cached one: nothing else of it is loaded, copied or moved.

    Args:
        run: The run.
        labels: The labels in the order of their class numbers.
        cache: Keeps the loaded network; the one returned is an adapted copy. None keeps nothing,
            so nothing is copied, and trained weights stay in the dtype that they were loaded in.
        tokenizer: The run's tokenizer; None loads the model's own.
        hardware: Where the run trains; None is a CPU in fp32.
        rank: Which of its devices.

    """
    kept = Cache() if cache is None else cache
    run_tokenizer = tokenizer if tokenizer is not None else build_tokenizer(run, (), kept)
    run, device = _placed(run, hardware, rank)
    loaded = _loaded(run, labels, kept, run_tokenizer, device)
    with seeded(run.seed, "adapt"):
        if cache is None:
            return run.strategy.adapt(loaded)
        if not run.strategy.keeps_frozen:
            return run.strategy.adapt(copy.deepcopy(loaded))
        adapted = run.strategy.adapt(sharing_copy(loaded))
    own_trained(adapted, loaded)
    return adapted


def untouched_network(
    run: Run,
    labels: Sequence[str],
    cache: Cache,
    tokenizer: PreTrainedTokenizerBase,
    hardware: Hardware,
) -> nn.Module:
    """Return the network from which `build_network` makes those of runs.

    The cache keeps it, so its weights and its device must stay.
    """
    run, device = _placed(run, hardware, 0)
    return _loaded(run, labels, cache, tokenizer, device)


def _placed(run: Run, hardware: Hardware | None, rank: int) -> tuple[Run, str]:
    """Return the run with its model settled, and the device on which its network is loaded."""
    if hardware is None:
        return run, "cpu"
    run = replace(run, model=run.model.attending(hardware, run.data.max_length))
    if not run.strategy.keeps_frozen:
        return run, "cpu"
    computes_bf16 = hardware.precision is Precision.bf16
    run = replace(run, model=run.model.settled(computes_bf16=computes_bf16))
    return run, hardware.place(rank)


@dataclass
class _Draws:
    """The seed of a loaded network in which nothing was drawn, so that every seed can use it."""

    seed: int | None = None


def _loaded(
    run: Run,
    labels: Sequence[str],
    cache: Cache,
    tokenizer: PreTrainedTokenizerBase,
    device: str,
) -> nn.Module:
    """Return the network as the strategy loads it, on the device; the cache keeps it."""

    def load() -> nn.Module:
        check_architecture(run, labels)
        with seeded(run.seed, "load"), _default_device(run.strategy, device):
            network = run.strategy.load(run.model, run.task, labels, tokenizer)
        run.task.configure_network(network)
        if getattr(network, "drawn", None) == frozenset():
            draws.seed = run.seed
        return network if run.strategy.loads_on_device else network.to(device)

    # Reading and checking weights takes longer than copying them. Strategies that differ only
    # in what they train share the loaded network.
    strategy, task = run.strategy.cache_key, run.task.cache_key
    key = (strategy, run.model, task, tuple(labels), len(tokenizer), device)
    draws = cache.get_or_make(("draws", *key), _Draws)
    seed = run.seed if draws.seed is None else draws.seed
    return cache.get_or_make_large("networks", (*key, seed), load, num_bytes, OTHER_BYTES)


def _default_device(strategy: Strategy, device: str) -> AbstractContextManager[object]:
    import torch

    return torch.device(device) if strategy.loads_on_device else nullcontext()


def check_architecture(run: Run, labels: Sequence[str]) -> None:
    """Raise ConfigError if the strategy cannot adapt such a network; loads no weights."""
    import torch

    if type(run.strategy).check_architecture is Strategy.check_architecture:
        return
    with torch.device("meta"), seeded(run.seed, "load"):
        skeleton = run.model.new_network(run.task.auto_class, **run.task.config(labels))
    run.strategy.check_architecture(skeleton)
