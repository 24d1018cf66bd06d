"""The base class of models: a tokenizer, and a network with the requested head."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lightning_modules.model.dtype import Dtype
from lightning_modules.model.files.embedder import Embedder
from lightning_modules.model.kind import Kind
from lightning_modules.model.light import LightTokenizer
from lightning_modules.model.size import Size
from lightning_modules.schema import Schema

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from lightning_modules.machine.hardware import Hardware
    from lightning_modules.machine.hub.snapshot import Snapshot
    from lightning_modules.rows.corpus import Row


@dataclass(frozen=True, kw_only=True)
class Model(Schema):
    """A language model."""

    draws_weights: ClassVar[bool] = True
    """Whether the seed of a run draws its weights; else a file has them."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name under which the model is known."""

    @property
    def hub_name(self) -> str | None:
        """The hub name of the same weights; None if they are not on the hub."""
        return None

    @property
    def max_length(self) -> int | None:
        """Maximum number of tokens of a text; None if unknown before it is loaded."""
        return None

    def known_kind(self) -> Kind | None:
        """Return the model's kind; None if unknown before it is loaded."""
        return None

    def known_size(self) -> Size | None:
        """Return the model's size; None if unknown before it is loaded."""
        return None

    def known_dtype(self) -> Dtype | None:
        """Return the format of its weights' file; None if unknown before it is loaded."""
        return None

    def file_dtype(self) -> str | None:
        """Return torch's name of the format of its weights' file; None if unknown."""
        return None

    def other_files(self) -> Iterator[Path]:
        """Yield the files that an export needs beside weights, configuration and tokenizer."""
        yield from ()

    @property
    def in_bf16(self) -> bool:
        """Whether its weights are to be held in bf16."""
        return False

    @property
    def runs_code(self) -> bool:
        """Whether code that comes with it is to run."""
        return False

    def settled(self, *, computes_bf16: bool) -> Self:
        """Return the model with its format settled, for a device that computes in bf16 or not.

        Raises:
            ConfigError: A network of its architecture cannot compute like that.

        """
        return self

    def attending(self, hardware: Hardware, max_length: int) -> Self:
        """Return the model with its attention settled, for texts of at most `max_length` tokens."""
        return self

    def snapshot(self) -> Snapshot | None:
        """Return the commit of the hub that it comes from; None if it comes from elsewhere.

        Raises:
            HubError: Neither the hub nor its cache on this machine has it.

        """
        return None

    def pinned(self) -> Self:
        """Return the model of the commit that its revision means now, if the hub knows it."""
        return self

    @property
    def commit(self) -> str | None:
        """The commit of the hub that its weights are known to come from."""
        return None

    def look_up(self) -> None:
        """Make kind and size known if that takes a short request only; `check` reports errors."""

    @property
    def fills_masks(self) -> bool:
        """Whether its weights include a head for masked words, if known before it is loaded."""
        return False

    def check(self) -> None:
        """Raise ConfigError if the model is not available; load nothing of it."""

    def check_weights(self) -> None:
        """Raise ConfigError if its weights are not available; load none of them."""

    def check_head(self, auto_class: str) -> None:
        """Raise ConfigError if the model does not support such a head; load no weights."""

    def head_note(self, auto_class: str, changes: Mapping[str, Any]) -> str:
        """Return what becomes of the model's own head; empty if it has none or keeps it.

        Args:
            auto_class: A transformers Auto class.
            changes: The changes that a task makes to the configuration, e.g. `num_labels`.

        """
        return ""

    def notes(self) -> Iterator[str]:
        """Yield what a user must know about the model before it is trained; load nothing of it."""
        return iter(())

    def embedder(self) -> Embedder | None:
        """Return how sentence-transformers embeds texts with the model; None if it does not say.

        Raises:
            ConfigError: Its files cannot be used, or the hub does not send them.

        """
        return None

    def check_tokenizer(self) -> None:
        """Raise ConfigError if the model has no tokenizer of its own."""

    def light_tokenizer(self) -> LightTokenizer | None:
        """Return the tokenizer through `tokenizers` alone; None if its files are not here."""
        return None

    def check_tokens(self, tokenizer: LightTokenizer, rows: Sequence[Row]) -> None:
        """Raise ConfigError if the network cannot read the tokens of rows; load nothing of it."""

    @abstractmethod
    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        """Return the tokenizer, with a padding token."""

    @abstractmethod
    def load_network(self, auto_class: str, **config: Any) -> PreTrainedModel:
        """Return the network in float32, or with its matrices in bfloat16 if `in_bf16`.

        Args:
            auto_class: A transformers Auto class; parameters missing from the weights are
                initialized at random by torch and named in the network's `drawn`.
            config: Changes to the architecture's config, e.g. `num_labels=3`.

        """

    @abstractmethod
    def new_network(self, auto_class: str, **config: Any) -> PreTrainedModel:
        """Return the same architecture in float32 with random weights; arguments as above."""
