"""From a run to its network: loaded, adapted, and its trained part as tensors."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from lightning_modules.cache import Cache
from lightning_modules.seed import seeded
from lightning_modules.strategy.base import Strategy

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from lightning_modules.rows.corpus import Row
    from lightning_modules.run import Run


def build_tokenizer(run: Run, rows: Sequence[Row], cache: Cache) -> PreTrainedTokenizerBase:
    """Return the run's tokenizer; `rows` are those that it trains on."""
    key: tuple[Hashable, ...] = ("tokenizer", run.strategy.cache_key, run.model)
    if run.strategy.trains_tokenizer:
        key = (*key, run.task.cache_key, run.data.rows_key)
    return cache.get_or_make(key, lambda: run.strategy.load_tokenizer(run.model, run.task, rows))


def build_network(
    run: Run, labels: Sequence[str], cache: Cache, tokenizer: PreTrainedTokenizerBase | None = None
) -> nn.Module:
    """Return a fresh network for the run; new weights are drawn from the run's seed.

    Args:
        run: The run.
        labels: The labels in the order of their class numbers.
        cache: Keeps what is loaded.
        tokenizer: The run's; None stands for the model's own.

    """
    read = tokenizer if tokenizer is not None else build_tokenizer(run, (), cache)

    def load() -> nn.Module:
        check_architecture(run, labels)
        with seeded(run.seed, "load"):
            network = run.strategy.load(run.model, run.task, labels, read)
        run.task.configure_network(network)
        return network

    # Reading and checking weights takes longer than copying them; strategies that differ only
    # in what they train share what they load.
    strategy, task = run.strategy.cache_key, run.task.cache_key
    key = ("network", strategy, run.model, task, tuple(labels), len(read), run.seed)
    loaded = cache.get_or_make(key, load)
    with seeded(run.seed, "adapt"):
        return run.strategy.adapt(copy.deepcopy(loaded))


def check_architecture(run: Run, labels: Sequence[str]) -> None:
    """Raise ConfigError where the strategy cannot adapt such a network; load no weights for it."""
    import torch

    if type(run.strategy).check_architecture is Strategy.check_architecture:
        return
    with torch.device("meta"), seeded(run.seed, "load"):
        skeleton = run.model.new_network(run.task.auto_class, **run.task.config(labels))
    run.strategy.check_architecture(skeleton)
