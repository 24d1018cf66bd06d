"""Build a run's tokenizer and network; what is loaded is cached."""

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
    """Return the run's tokenizer; `rows` are the training rows."""
    key: tuple[Hashable, ...] = ("tokenizer", run.strategy.cache_key, run.model)
    if run.strategy.trains_tokenizer:
        key = (*key, run.task.cache_key, run.data.rows_key)
    return cache.get_or_make(key, lambda: run.strategy.load_tokenizer(run.model, run.task, rows))


def build_network(
    run: Run, labels: Sequence[str], cache: Cache, tokenizer: PreTrainedTokenizerBase | None = None
) -> nn.Module:
    """Return a new network for the run; new weights are drawn from the run's seed.

    Args:
        run: The run.
        labels: The labels in the order of their class numbers.
        cache: Keeps the loaded network; the one returned is an adapted copy.
        tokenizer: The run's tokenizer; None loads the model's own.

    """
    run_tokenizer = tokenizer if tokenizer is not None else build_tokenizer(run, (), cache)

    def load() -> nn.Module:
        check_architecture(run, labels)
        with seeded(run.seed, "load"):
            network = run.strategy.load(run.model, run.task, labels, run_tokenizer)
        run.task.configure_network(network)
        return network

    # Reading and checking weights takes longer than copying them. Strategies that differ only
    # in what they train share the loaded network.
    strategy, task = run.strategy.cache_key, run.task.cache_key
    key = ("network", strategy, run.model, task, tuple(labels), len(run_tokenizer), run.seed)
    loaded = cache.get_or_make(key, load)
    with seeded(run.seed, "adapt"):
        return run.strategy.adapt(copy.deepcopy(loaded))


def check_architecture(run: Run, labels: Sequence[str]) -> None:
    """Raise ConfigError if the strategy cannot adapt such a network; loads no weights."""
    import torch

    if type(run.strategy).check_architecture is Strategy.check_architecture:
        return
    with torch.device("meta"), seeded(run.seed, "load"):
        skeleton = run.model.new_network(run.task.auto_class, **run.task.config(labels))
    run.strategy.check_architecture(skeleton)
