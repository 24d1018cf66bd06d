"""An architecture of transformers without weights, for `strategy=from_scratch`.

The user sets its sizes: `model=architecture model.type=gpt2 model.kind=decoder
'model.config={n_layer: 4}'`, or a YAML file like `conf/model/transformer.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from lightning_modules.error import ConfigError, Problem, Verbatim, did_you_mean, reason_of
from lightning_modules.model.attention import Attention, built, chosen
from lightning_modules.model.base import Model
from lightning_modules.model.kind import Kind
from lightning_modules.model.pair import build_pair, is_pair
from lightning_modules.model.position import num_positions

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from lightning_modules.machine.hardware import Hardware


@dataclass(frozen=True, kw_only=True)
class Architecture(Model):
    """A network without weights.

    Attributes:
        type: The name that transformers gives the architecture, e.g. `gpt2`, `bart` or `bert`.
        kind: The kind of that type: `encoder`, `decoder` or `encoder_decoder`.
        config: Values for its configuration class, e.g. `{n_layer: 4, n_embd: 128}`; the rest
            keep the defaults of the class.
        attention: `sdpa`, with `eager` for architectures without it, `eager`, or `auto`, see
            `lightning_modules.model.attention`.

    """

    type: str | None
    kind: Kind
    config: dict[str, Any]
    attention: Attention

    def problems(self) -> Iterator[Problem]:
        if not self.type:
            fix = "Set model.type=gpt2 or another architecture."
            yield Problem("type", "must be an architecture of transformers", self.type, fix)

    def attending(self, hardware: Hardware, max_length: int) -> Self:
        return replace(self, attention=chosen(self.attention, hardware, max_length))

    def __hash__(self) -> int:  # a mapping has none
        return hash(repr(self))

    @property
    def name(self) -> str:
        return f"{self.type} without weights"

    @property
    def max_length(self) -> int | None:
        from transformers import CONFIG_MAPPING

        if self.type not in CONFIG_MAPPING:
            return None  # `check` reports it
        try:
            return num_positions(CONFIG_MAPPING[self.type](**self.config).to_dict())
        except (ValueError, TypeError):
            return None

    def known_kind(self) -> Kind:
        return self.kind

    def check(self) -> None:
        from transformers import CONFIG_MAPPING

        if self.type not in CONFIG_MAPPING:
            rule, fix = "must be an architecture of transformers", ""
            fix = did_you_mean(str(self.type), CONFIG_MAPPING) if self.type else ""
            raise ConfigError(Problem("model.type", rule, self.type, fix))
        known = CONFIG_MAPPING[self.type]().to_dict()
        for key in self.config:
            if key not in known:
                rule = f"must be a key of {CONFIG_MAPPING[self.type].__name__}"
                fix = did_you_mean(key, known)
                raise ConfigError(Problem(f"model.config.{key}", rule, self.config[key], fix))
        with self._building():
            CONFIG_MAPPING[self.type](**self.config)

    def check_tokenizer(self) -> None:
        rule, got = "must have a tokenizer of its own", Verbatim(self.name)
        fix = "Set strategy=from_scratch strategy.tokenizer=bpe (or characters)."
        raise ConfigError(Problem("model", rule, got, fix))

    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        self.check_tokenizer()
        raise AssertionError

    def load_network(self, auto_class: str, **config: Any) -> PreTrainedModel:
        return self.new_network(auto_class, **config)

    def new_network(self, auto_class: str, **config: Any) -> PreTrainedModel:
        import torch
        import transformers

        if is_pair(auto_class, self.kind):
            return build_pair(self.new_network, self.load_tokenizer, config)
        with self._building():
            values = {**self.config, **config}
            settings: PreTrainedConfig = transformers.CONFIG_MAPPING[self.type](**values)
            build = getattr(transformers, auto_class).from_config
            network: PreTrainedModel = built(
                lambda attention: build(settings, dtype=torch.float32, **attention), self.attention
            )
        return network

    @contextmanager
    def _building(self) -> Iterator[None]:
        """Turn what transformers raises for sizes that do not fit together into a ConfigError."""
        try:
            yield
        except (ValueError, TypeError, AssertionError) as error:
            rule, got = f"must be valid sizes for {self.type}", Verbatim(f"{self.config}")
            reason = f"transformers reports: {reason_of(error)}."
            raise ConfigError(Problem("model.config", rule, got, reason)) from error
