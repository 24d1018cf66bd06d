"""From a run to its network: loaded, adapted, and its trained part as tensors."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lightning_modules.cache import Warm
from lightning_modules.seed import seeded
from lightning_modules.strategy.base import Strategy

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedTokenizerBase

    from lightning_modules.data.base import Row
    from lightning_modules.run import Run


def build_tokenizer(run: Run, rows: Sequence[Row], warm: Warm) -> PreTrainedTokenizerBase:
    """Return the run's tokenizer; `rows` are those that it trains on."""
    key: tuple[Hashable, ...] = ("tokenizer", run.strategy.loading, run.model)
    if run.strategy.trains_tokenizer:
        key = (*key, run.task.reading, repr(replace(run.data, batch_size=1)))
    return warm.once(key, lambda: run.strategy.load_tokenizer(run.model, run.task, rows))


def build_network(
    run: Run, labels: Sequence[str], warm: Warm, tokenizer: PreTrainedTokenizerBase | None = None
) -> nn.Module:
    """Return a fresh network for the run; new weights are drawn from the run's seed.

    Args:
        run: The run.
        labels: The labels in the order of their class numbers.
        warm: Keeps what is loaded.
        tokenizer: The run's; None stands for the model's own.

    """
    read = tokenizer if tokenizer is not None else build_tokenizer(run, (), warm)

    def load() -> nn.Module:
        check_architecture(run, labels)
        with seeded(run.seed, "load"):
            network = run.strategy.load(run.model, run.task, labels, read)
        run.task.set_up(network)
        return network

    # Reading and checking weights takes longer than copying them; strategies that differ only
    # in what they train share what they load.
    strategy, task = run.strategy.loading, run.task.reading
    key = ("network", strategy, run.model, task, tuple(labels), len(read), run.seed)
    loaded = warm.once(key, load)
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


def trained_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Return by name what training changes: parameters, and buffers of what `trains_buffers`."""
    found: dict[str, Tensor] = {
        name: parameter.data
        for name, parameter in network.named_parameters()
        if parameter.requires_grad
    }
    for path, module in network.named_modules():
        if getattr(type(module), "trains_buffers", False):
            found.update(module.named_buffers(prefix=path))
    return found


def trained_state(network: nn.Module) -> dict[str, Tensor]:
    """Return copies of the trained tensors by name, on the CPU."""
    return {name: each.detach().cpu().clone() for name, each in trained_tensors(network).items()}


def restore_state(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy tensors that `trained_state` gave into the network.

    Raises:
        KeyError: The network trains other tensors than the state holds.

    """
    trained = trained_tensors(network)
    if trained.keys() != state.keys():
        raise KeyError(f"the state is of another network: {sorted(trained.keys() ^ state.keys())}")
    for name, tensor in trained.items():
        tensor.copy_(state[name])


def num_bytes_of(values: Any) -> int:
    """Return the bytes of all tensors in nested mappings and sequences."""
    if isinstance(values, Mapping):
        return sum(map(num_bytes_of, values.values()))
    if isinstance(values, list | tuple):
        return sum(map(num_bytes_of, values))
    return int(getattr(values, "nbytes", 0))


def first_unsound(state: Mapping[str, Tensor]) -> str | None:
    """Return the name of a tensor that holds NaN or infinity, None where none does."""
    return next((name for name, tensor in state.items() if not tensor.isfinite().all()), None)


def count_parameters(network: nn.Module) -> tuple[int, int]:
    """Return (trained, all) numbers of parameters."""
    counts = [(_num_values(p), p.requires_grad) for p in network.parameters()]
    return sum(number for number, trained in counts if trained), sum(number for number, _ in counts)


def _num_values(parameter: Tensor) -> int:
    if type(parameter).__name__ != "Params4bit":
        return parameter.numel()
    # bitsandbytes packs two values of 4 bits in each byte, as PEFT counts them, too.
    return 2 * parameter.numel() * parameter.element_size()
