"""Score a trained network, and the untouched one that it comes from, on the data of guards."""

from __future__ import annotations

import math
import sys
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from lightning_modules.guard.base import Guard, Loaded, Subject
from lightning_modules.network import untouched_network
from lightning_modules.outcome import Ending, GuardScore, Stopped
from lightning_modules.strategy.base import Strategy

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from lightning_modules.cache import Cache
    from lightning_modules.hooks import Hooks
    from lightning_modules.machine.hardware import Hardware
    from lightning_modules.run import Run


@dataclass(frozen=True)
class Guarded:
    """A run whose guards are scored.

    Attributes:
        run: The run, fitted to its rows.
        guards: Its guards.
        labels: The labels in the order of their class numbers.
        tokenizer: Its tokenizer.
        hardware: Where it trains.
        cache: Keeps the untouched network, the data of guards and the scores on them.
        hooks: Receive its progress, and may interrupt it.

    """

    run: Run
    guards: Sequence[Guard]
    labels: Sequence[str]
    tokenizer: PreTrainedTokenizerBase
    hardware: Hardware
    cache: Cache
    hooks: Hooks

    def untouched(self) -> Mapping[str, float]:
        """Return the untouched network's value by guard; each is measured once per cache.

        Called before the training, which may leave a GPU no room for a second network.
        """
        if not self.guards:
            return {}
        network = untouched_network(
            self.run, self.labels, self.cache, self.tokenizer, self.hardware
        )
        is_random = getattr(network, "drawn", None) != frozenset()
        seed = self.run.seed if is_random else None
        return {
            guard.name: self.cache.get_or_make(
                ("untouched", *self._key(guard), seed),
                partial(self._untouched, guard, network, is_random),
            )
            for guard in self.guards
        }

    def scores(self, network: nn.Module, untouched: Mapping[str, float]) -> tuple[GuardScore, ...]:
        """Return what a trained network scores; it may be moved to the device.

        Args:
            network: The network, with the weights to score.
            untouched: What `untouched` returned.

        """
        return tuple(
            GuardScore(
                name=guard.name,
                metric=guard.metric,
                value=self._value(guard, network, "trained"),
                untouched=untouched[guard.name],
                limit=guard.bound.limit(untouched[guard.name]),
                is_most=guard.bound.is_most,
                bound=str(guard.bound),
            )
            for guard in self.guards
        )

    def _untouched(self, guard: Guard, network: nn.Module, is_random: bool) -> float:
        if is_random and guard.bound.is_share:
            self.hooks.warn(
                f"guard {guard.name}: the untouched model has new, random weights, so a bound "
                "relative to it says little; a number as the bound does not depend on it"
            )
        place = next(network.parameters()).device
        value = self._value(guard, network, "untouched")
        if next(network.parameters()).device != place:
            network.to(place)  # the cache keeps it there
        return value

    def _value(self, guard: Guard, network: nn.Module, which: str) -> float:
        key = ("guard", *self._key(guard))
        loaded: Loaded = self.cache.get_or_make(key, lambda: guard.load(self.run, self.labels))

        def heartbeat() -> None:
            self.hooks.heartbeat(f"scoring the {which} model for guard {guard.name}")
            if self.hooks.interrupted():
                raise Stopped(Ending.interrupted, "interrupted while its guards were scored")

        heartbeat()
        subject = Subject(network, self.tokenizer, self.labels, self.run, self.hardware, heartbeat)
        value = loaded.score(subject)
        # A loss beyond all numbers is no JSON.
        return value if math.isfinite(value) else math.copysign(sys.float_info.max, value)

    def _key(self, guard: Guard) -> tuple[Hashable, ...]:
        """Return what the value of an untouched network depends on, but for random weights."""
        run, strategy = self.run, self.run.strategy
        prepares = type(strategy).prepare is not Strategy.prepare
        return (
            repr(guard),
            repr(strategy) if prepares else strategy.cache_key,
            run.model,
            run.task.cache_key,
            run.data.max_length,
            tuple(self.labels),
            str(self.hardware),
        )


def logged_guards(scores: Sequence[GuardScore]) -> dict[str, float | bool]:
    """Return the values for an experiment log, by name."""
    values: dict[str, float | bool] = {}
    for each in scores:
        values[f"guard/{each.name}"] = each.value
        values[f"guard/{each.name}/untouched"] = each.untouched
        values[f"guard/{each.name}/limit"] = each.limit
        values[f"guard/{each.name}/broken"] = each.is_broken
    return values
