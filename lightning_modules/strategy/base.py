"""The base class of strategies, and the order in which a run calls its methods.

`fit_to_rows` reads what the strategy needs from the training rows, `load_tokenizer` and `load`
return the tokenizer and the network with its head, `prepare` changes the rows, `adapt` decides
what is trained, `stepping` wraps each optimizer step, and `export` writes a folder that others can
load. By default a strategy reads nothing from the rows, leaves them unchanged, uses the model's
tokenizer, loads the architecture's own head and trains every weight; subclasses override only what
differs.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_modules.error import ConfigError, Problem
from lightning_modules.model.files.folder import ModelFolder
from lightning_modules.model.multimodal import auto_class_of
from lightning_modules.model.saved import save_network
from lightning_modules.rows.corpus import Corpus, Row
from lightning_modules.schema import Schema, positive

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from lightning_modules.model.base import Model
    from lightning_modules.model.light import LightTokenizer
    from lightning_modules.model.size import Size
    from lightning_modules.model.stem import Stem
    from lightning_modules.task.base import Task


@dataclass(frozen=True, kw_only=True)
class Strategy(Schema):
    """A way to adapt a pretrained model.

    Attributes:
        lr: Default learning rate, > 0; `optimizer.lr` reads it.
        lr_min: Low end of the range that the default space searches.
        lr_max: High end of that range.

    """

    lr: float
    lr_min: float
    lr_max: float

    trains: ClassVar[bool] = True
    """Whether any weight is trained; if not, a run is a single validation."""
    reads_weights: ClassVar[bool] = True
    """Whether it reads the pretrained weights; else only configuration and tokenizer are needed."""
    ignores: ClassVar[tuple[str, ...]] = ()
    """Config paths, or groups of them, without effect under this strategy; never searched."""

    loads_on_device: ClassVar[bool] = False
    """Whether `load` puts the network on torch's default device; if not, it is moved there."""

    telling_share: ClassVar[float] = 0.35
    """The share of a run after which its validations say how good it ends (docs/search.md)."""

    @classmethod
    def has_use_for(cls, path: str) -> bool:
        """Return whether the value at a config path has any effect under this strategy."""
        return not any(f"{path}.".startswith(f"{each}.") for each in cls.ignores)

    def problems(self) -> Iterator[Problem]:
        yield from positive(self, "lr", "lr_min", "lr_max")
        if not self.lr_min < self.lr_max:
            yield Problem("lr_min", f"must be < lr_max={self.lr_max}", self.lr_min)

    def check(self, model: Model, task: Task) -> None:
        """Raise ConfigError if the strategy does not support the model or task; load no weights."""
        if not self.trains_tokenizer:
            model.check_tokenizer()
        if model.in_bf16 and not self.supports_bf16:
            name = type(self).__module__.rpartition(".")[2]
            rule = f"must be auto or fp32 with strategy={name} as it is set"
            raise ConfigError(Problem("model.dtype", rule, "bf16", "Set model.dtype=auto."))

    def fit_to_rows(self, model: Model, task: Task, corpus: Corpus) -> Strategy:
        """Return the strategy with what it needs from the training rows; load no weights.

        Raises:
            ConfigError: A setting does not fit the rows.

        """
        return self

    @property
    def state(self) -> Mapping[str, Any]:
        """What `fit_to_rows` read from the rows, as JSON values, which the run stores."""
        return {}

    def from_state(self, state: Mapping[str, Any]) -> Strategy:
        """Return the strategy that `fit_to_rows` returned, given its `state`."""
        return self

    def prepare(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> Sequence[Row]:
        """Return the rows as the model reads them."""
        return rows

    @property
    def num_virtual_tokens(self) -> int:
        """Number of the model's positions taken by virtual tokens, which texts cannot use."""
        return 0

    @property
    def trains_tokenizer(self) -> bool:
        """Whether `load_tokenizer` trains one on the rows, which is then saved with the run."""
        return False

    @property
    def cache_key(self) -> Hashable:
        """Everything in the strategy that `load_tokenizer` and `load` depend on.

        Strategies with equal values share the results of these two.
        """
        return repr(self) if self.trains_tokenizer else type(self).load

    @property
    def keeps_frozen(self) -> bool:
        """Whether neither `adapt` nor training changes a frozen weight, so that runs can share it.

        `adapt` may wrap or replace modules, and change which weights are trained. It must not
        write to a weight, not even to one that is then trained.
        """
        return False

    @property
    def keeps_base(self) -> bool:
        """Whether the trained network has an adapter, without which it is the pretrained one."""
        return False

    @property
    def shared_layers(self) -> str | None:
        """Which layers are adapted, if other runs' adapters of them can share a pass; else None."""
        return None

    @property
    def can_recompute(self) -> bool:
        """Whether the backward pass can compute a layer again from the inputs that it had."""
        return True

    @property
    def supports_bf16(self) -> bool:
        """Whether the weights that it loads can be held in bf16."""
        return self.keeps_frozen

    def num_trained(self, size: Size) -> float | None:
        """Return about how many values are trained besides a head; None if only a network says it.

        Args:
            size: The model's size.

        """
        return None if self.trains else 0

    @property
    def differentiates(self) -> bool:
        """Whether the gradient passes through the backbone, so that a step keeps activations."""
        return self.trains

    def load_tokenizer(
        self, model: Model, task: Task, rows: Sequence[Row]
    ) -> PreTrainedTokenizerBase:
        """Return the tokenizer; `rows` are the training rows."""
        return model.load_tokenizer()

    @property
    def writes_specials(self) -> bool:
        """Whether `prepare` writes special tokens around the texts of rows."""
        return False

    def light_tokenizer(
        self, model: Model, task: Task, rows: Sequence[Row]
    ) -> LightTokenizer | None:
        """Return the same through `tokenizers` alone, to count; None if its files are not here.

        `rows` may be a part of the training rows.
        """
        return model.light_tokenizer()

    def load(
        self, model: Model, task: Task, labels: Sequence[str], tokenizer: PreTrainedTokenizerBase
    ) -> nn.Module:
        """Return the network with the task's head; missing weights are initialized at random."""
        network: nn.Module = model.load_network(task.auto_class, **task.config(labels))
        return network

    def head_note(self, model: Model, task: Task, labels: Sequence[str]) -> str:
        """Return what becomes of the head that the model has, in a line; empty if it is kept."""
        changes = task.config(labels)
        return model.head_note(task.auto_class, changes) if self.reads_weights else ""

    def check_architecture(self, skeleton: nn.Module) -> None:
        """Raise ConfigError if `adapt` would; the skeleton has no weights and may be modified."""

    def adapt(self, network: nn.Module) -> nn.Module:
        """Return the network with `requires_grad` set on exactly the parameters to train."""
        return network

    def stem(self, network: Any) -> Stem | None:
        """Return the frozen part below everything that is trained, if the adapted network has one.

        None runs the whole network in every batch.
        """
        return None

    def stepping(self, network: Any, step: int, num_steps: int) -> AbstractContextManager[None]:
        """Return a context manager for optimizer step `step` of `num_steps`, counted from 1.

        On entry and on exit the gradients of the whole batch are present, equal on every rank. In
        fp16 some can be NaN or infinite; the step is then skipped.
        """
        return nullcontext()

    def export_dtype(self, model: Model) -> str | None:
        """Return torch's name of the format of exported weights: that of the model's file."""
        return model.file_dtype()

    def for_export(self) -> Strategy:
        """Return the strategy whose trained network `export` gets."""
        return self

    def export(self, network: Any, tokenizer: Any, model: Model, task: Task, folder: Path) -> str:
        """Write the trained network to `folder`; return Python lines that load it from ".".

        The network is not used afterwards, so its weights may be changed in place.
        """
        save_network(network, self.export_dtype(model), folder)
        tokenizer.save_pretrained(folder)
        return task.usage(auto_class_of(task.auto_class, network.config.to_dict()))

    @classmethod
    def needs_base(cls, folder: Path) -> bool:
        """Return whether the export in `folder` also needs the pretrained model."""
        return False

    @classmethod
    def check_export(cls, folder: Path, labels: Sequence[str], base: str | None) -> None:
        """Raise ConfigError if the files that `load_export` needs cannot be used; load none.

        Args:
            folder: The folder that `export` wrote.
            labels: The labels in the order of their class indices.
            base: Folder or hub name of the pretrained model; None if it is in `folder` itself.

        """
        files = ModelFolder(folder)
        files.check_labels(labels)
        files.check_weights()

    @classmethod
    def load_export(
        cls, folder: Path, task: Task, labels: Sequence[str], base: str | None
    ) -> tuple[nn.Module, Strategy | None]:
        """Return the network that `export` wrote, and the strategy that prepares its rows, if any.

        Args:
            folder: The folder that `export` wrote.
            task: The task that the network was trained for.
            labels: The labels in the order of their class indices.
            base: Folder or hub name of the pretrained model; None if it is in `folder` itself.

        """
        import torch

        files = ModelFolder(folder)
        network, missing = files.load_network(task.auto_class, dtype=torch.float32)
        files.check_whole(missing)
        return network, None
