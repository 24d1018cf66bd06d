"""An architecture of transformers without weights, for `strategy=from_scratch`.

Its sizes are the user's: `model=architecture model.type=gpt2 model.kind=decoder
'model.config={n_layer: 4}'` or a YAML, as `conf/model/transformer.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_modules.error import ConfigError, Problem, Verbatim, did_you_mean
from lightning_modules.model.base import Attention, Model
from lightning_modules.model.kind import Kind
from lightning_modules.model.pair import build_pair, is_pair

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_LENGTHS = ("n_positions", "max_position_embeddings")


@dataclass(frozen=True, kw_only=True)
class Architecture(Model):
    """A network without weights.

    Attributes:
        type: What transformers calls the architecture, as `gpt2`, `bart` or `bert`.
        kind: `encoder`, `decoder` or `encoder_decoder`: what that type is.
        config: Values of its configuration class, as `{n_layer: 4, n_embd: 128}`; the rest is as
            the class has it.
        attention: `sdpa` or `eager`.

    """

    type: str | None
    kind: Kind
    config: dict[str, Any]
    attention: Attention

    def problems(self) -> Iterator[Problem]:
        if not self.type:
            fix = "Set model.type=gpt2, or another that transformers has."
            yield Problem("type", "must be an architecture", self.type, fix)

    def __hash__(self) -> int:  # a mapping has none
        return hash(repr(self))

    @property
    def name(self) -> str:
        return f"{self.type} without weights"

    @property
    def max_length(self) -> int | None:
        found = [self.config[name] for name in _LENGTHS if name in self.config]
        return int(found[0]) if found else None

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

    def check_tokenizer(self) -> None:
        rule, got = "a model without weights has no tokenizer either", Verbatim("the model's own")
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
        made: PreTrainedConfig = transformers.CONFIG_MAPPING[self.type](**{**self.config, **config})
        network: PreTrainedModel = getattr(transformers, auto_class).from_config(
            made, dtype=torch.float32, attn_implementation=self.attention.value
        )
        return network
