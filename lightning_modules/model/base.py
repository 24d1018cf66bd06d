"""What every model gives: a tokenizer and a network with a head of a wanted kind."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.error import ConfigError, Problem, Verbatim, reason_of
from lightning_modules.model.kind import Kind, kind_of
from lightning_modules.model.pair import PAIR, build_pair, check_decoder, is_pair, leave_pooler
from lightning_modules.schema import Schema

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# These number a text's first token pad_token_id + 1, so that many positions are never read.
_POSITIONS_BEGIN_BEHIND_PADDING = frozenset(
    (
        "camembert",
        "data2vec-text",
        "ibert",
        "longformer",
        "luke",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    )
)


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

    def known_kind(self) -> Kind | None:
        """Return what it is built to do; None where only loading it would tell."""
        return None

    @property
    def fills_masks(self) -> bool:
        """Whether its weights hold a head for masked words, as far as is known unloaded."""
        return False

    def check(self) -> None:
        """Raise ConfigError where the weights cannot be had; load none of them."""

    def check_head(self, auto_class: str) -> None:
        """Raise ConfigError where it cannot have such a head; load no weights for it."""

    def check_tokenizer(self) -> None:
        """Raise ConfigError where it brings no tokenizer of its own."""

    @abstractmethod
    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        """Return the tokenizer, with a padding token."""

    @abstractmethod
    def load_network(self, auto_class: str, **config: Any) -> PreTrainedModel:
        """Return the network in float32.

        Args:
            auto_class: A transformers Auto class; parameters that the weights lack are drawn from
                torch's random numbers, and named in the network's `drawn`.
            config: Changes to the architecture's config, as `num_labels=3`.

        """

    @abstractmethod
    def new_network(self, auto_class: str, **config: Any) -> PreTrainedModel:
        """Return the same architecture in float32, every weight drawn; arguments as above."""


class Attention(Enum):
    """How attention is computed; transformers would fetch and run other kernels from the hub."""

    eager = "eager"
    sdpa = "sdpa"


@dataclass(frozen=True, kw_only=True)
class Pretrained(Model):
    """A model whose files lie in a folder or on the hub, as transformers writes them.

    Attributes:
        attention: `sdpa` (torch's fused attention) or, slower, `eager` (step by step), which every
            architecture has.

    """

    attention: Attention

    @abstractmethod
    def location(self) -> str:
        """Return a local folder or a hub name; raise ConfigError where there is neither."""

    def known_kind(self) -> Kind | None:
        config = self._config()
        return None if config is None else kind_of(config)

    @property
    def fills_masks(self) -> bool:
        names = (self._config() or {}).get("architectures") or ()
        return any(name.endswith("ForMaskedLM") for name in names)

    @property
    def max_length(self) -> int | None:
        return num_positions(self._config() or {})

    def check(self) -> None:
        self.location()

    def check_head(self, auto_class: str) -> None:
        if is_pair(auto_class, self.known_kind()):
            check_decoder(str((self._config() or {}).get("model_type")))

    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        from transformers import AutoTokenizer

        with self._loading():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                self.location(), trust_remote_code=False
            )
        if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
            # transformers 5 makes an empty tokenizer where it finds no files of one.
            rule, got = f"{self.name} must bring its tokenizer", Verbatim("one without words")
            fix = "Save it beside the weights: tokenizer.save_pretrained(folder)."
            raise ConfigError(Problem("model", rule, got, fix))
        if tokenizer.pad_token is None:  # GPT-like tokenizers have none
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    def load_network(
        self, auto_class: str, *, quantization: Any = None, **config: Any
    ) -> PreTrainedModel:
        """Return the network in float32.

        With one of transformers' configurations as `quantization`, its linear layers are as that
        says, and lie on the current CUDA device.
        """
        import transformers

        quantized = {}
        if quantization is not None:
            quantized = {"quantization_config": quantization, "device_map": {"": "cuda"}}
        if is_pair(auto_class, self.known_kind()):
            return build_pair(self.load_network, self.load_tokenizer, config)
        with self._loading():
            network, found = getattr(transformers, auto_class).from_pretrained(
                self.location(),
                config=self._architecture(config),
                # A pickle can run code when it is loaded.
                use_safetensors=True,
                output_loading_info=True,
                **quantized,
                **self._settings(),
            )
        network.drawn = frozenset(found["missing_keys"])
        leave_pooler(network)
        return self._with_padding(network)

    def new_network(self, auto_class: str, **config: Any) -> PreTrainedModel:
        import transformers

        if is_pair(auto_class, self.known_kind()):
            return build_pair(self.new_network, self.load_tokenizer, config)
        with self._loading():
            network: PreTrainedModel = getattr(transformers, auto_class).from_config(
                self._architecture(config), **self._settings()
            )
        leave_pooler(network)
        return self._with_padding(network)

    def _with_padding(self, network: PreTrainedModel) -> PreTrainedModel:
        """Name the token that batches are padded with, which a text's last token is told by."""
        if network.config.pad_token_id is None:  # GPT-like models have none
            try:
                padding = self.load_tokenizer().pad_token_id
            except ConfigError:  # another one is trained
                ends = network.config.eos_token_id
                padding = ends[0] if isinstance(ends, list) else ends
            network.config.pad_token_id = padding
        return network

    def _architecture(self, changes: Mapping[str, Any]) -> PreTrainedConfig:
        from transformers import AutoConfig

        config: PreTrainedConfig = AutoConfig.from_pretrained(
            self.location(), trust_remote_code=False, **changes
        )
        return config

    def _settings(self) -> dict[str, Any]:
        import torch

        return {
            # Unset, transformers 5 takes the checkpoint's dtype, which may be half.
            "dtype": torch.float32,
            # Beside a config, not among its changes: a kernel of the hub that config.json names
            # would else be fetched.
            "attn_implementation": self.attention.value,
            "trust_remote_code": False,
        }

    @contextmanager
    def _loading(self) -> Iterator[None]:
        """Turn what transformers raises over files that it cannot use into one line."""
        try:
            yield
        except (OSError, ValueError) as error:
            if "scaled_dot_product_attention" in str(error):
                rule, fix = f"must be one that {self.name} has", "Set model.attention=eager."
                raise ConfigError(Problem("model.attention", rule, "sdpa", fix)) from error
            rule = f"{self.name} must load from safetensors, without code of its own"
            raise ConfigError(Problem("model", rule, reason_of(error))) from error

    def _config(self) -> dict[str, Any] | None:
        """Return what config.json says, where it is here already."""
        path = self._config_path()
        if path is None or not path.is_file():
            return None
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return config

    def _config_path(self) -> Path | None:
        """Return where config.json is here already, in the folder or in the hub's cache."""
        location = Path(self.location())
        if location.is_dir():
            return location / "config.json"
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            cached = try_to_load_from_cache(self.location(), "config.json")
        except HFValidationError:  # `check` says so
            return None
        return Path(cached) if isinstance(cached, str) else None


def num_positions(config: Mapping[str, Any]) -> int | None:
    """Return how many tokens a network of that configuration reads; None where it does not say."""
    if config.get("model_type") == PAIR:
        return num_positions(config["encoder"])
    # As T5 has none, and GPT-2 its own word for it.
    positions = config.get("max_position_embeddings", config.get("n_positions"))
    if config.get("model_type") == "t5" or not isinstance(positions, int):
        return None
    if config.get("model_type") in _POSITIONS_BEGIN_BEHIND_PADDING:
        padding = config.get("pad_token_id")
        return positions - 1 - (padding if isinstance(padding, int) else 1)
    return positions
