"""What every model gives: a tokenizer and a network with a head of a wanted kind."""

from __future__ import annotations

import json
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.schema import Schema

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Model(Schema):
    """A language model."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name people know the model by."""

    @property
    def hub_name(self) -> str | None:
        """The name by which anyone can fetch the same weights; None where nobody can."""
        return None

    @property
    def max_length(self) -> int | None:
        """Tokens that it can read at once; None where only loading it would tell."""
        return None

    def check(self) -> None:
        """Raise ConfigError where the weights cannot be had; load none of them."""

    @abstractmethod
    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        """Return the tokenizer, with a padding token."""

    @abstractmethod
    def load_network(self, auto_class: str, **config: Any) -> PreTrainedModel:
        """Return the network in float32.

        Args:
            auto_class: A transformers Auto class; parts that the weights lack are drawn from
                torch's random numbers.
            config: Changes to the architecture's config, as `num_labels=3`.

        """


@dataclass(frozen=True, kw_only=True)
class Pretrained(Model):
    """A model whose files lie in a folder or on the hub, as transformers writes them."""

    @abstractmethod
    def location(self) -> str:
        """Return a local folder or a hub name; raise ConfigError where there is neither."""

    @property
    def max_length(self) -> int | None:
        path = Path(self.location()) / "config.json"
        if not path.is_file():
            return None
        positions = json.loads(path.read_text(encoding="utf-8")).get("max_position_embeddings")
        return positions if isinstance(positions, int) else None

    def check(self) -> None:
        self.location()

    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        from transformers import AutoTokenizer

        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(self.location())
        if tokenizer.pad_token is None:  # GPT-like tokenizers have none
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    def load_network(self, auto_class: str, **config: Any) -> PreTrainedModel:
        import torch
        import transformers

        network: PreTrainedModel = getattr(transformers, auto_class).from_pretrained(
            self.location(),
            # Unset, transformers 5 takes the checkpoint's dtype, which may be half.
            dtype=torch.float32,
            attn_implementation="sdpa",
            # A pickle can run code when it is loaded.
            use_safetensors=True,
            **config,
        )
        if network.config.pad_token_id is None:
            network.config.pad_token_id = network.config.eos_token_id
        return network
