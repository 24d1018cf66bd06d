"""The life of a strategy: hooks on the way to a trainable network, one a step, one on the way out.

`fit_to_rows` takes from the training rows what it needs of them, `load_tokenizer` and `load` bring
what reads rows and weights with a head, `prepare` changes the rows, `adapt` decides what is
trained, `stepping` is around each optimizer step, `export` writes what others can load. The base
class needs no rows and takes them as they are, takes the model's tokenizer, loads the
architecture's own head and trains every weight; a strategy says only what it does differently.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_modules.error import Problem
from lightning_modules.rows.corpus import Corpus, Row
from lightning_modules.schema import Schema, positive

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from lightning_modules.model.base import Model
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
    """Whether any weight is trained; else a run is one validation."""
    ignores: ClassVar[tuple[str, ...]] = ()
    """Config paths, or groups of them, that change nothing under it, so no study searches them."""

    @classmethod
    def has_use_for(cls, path: str) -> bool:
        """Say whether the value at a config path can change anything under the strategy."""
        return not any(f"{path}.".startswith(f"{each}.") for each in cls.ignores)

    def problems(self) -> Iterator[Problem]:
        yield from positive(self, "lr", "lr_min", "lr_max")
        if not self.lr_min < self.lr_max:
            yield Problem("lr_min", f"must be < lr_max={self.lr_max}", self.lr_min)

    def check(self, model: Model, task: Task) -> None:
        """Raise ConfigError where model and task cannot be adapted so; load no weights for it."""
        if not self.trains_tokenizer:
            model.check_tokenizer()

    def fit_to_rows(self, model: Model, task: Task, corpus: Corpus) -> Strategy:
        """Return the strategy with what it needs of the training rows; load no weights for it.

        Raises:
            ConfigError: A setting does not fit the rows.

        """
        return self

    @property
    def state(self) -> Mapping[str, Any]:
        """What `fit_to_rows` took of the rows, as values of JSON, which a run keeps for later."""
        return {}

    def from_state(self, state: Mapping[str, Any]) -> Strategy:
        """Return the strategy that `fit_to_rows` made, from its `state`."""
        return self

    def prepare(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> Sequence[Row]:
        """Return the rows as the model shall read them."""
        return rows

    @property
    def num_virtual_tokens(self) -> int:
        """The positions of the model that no text can have, as others stand there."""
        return 0

    @property
    def trains_tokenizer(self) -> bool:
        """Whether `load_tokenizer` makes one of the rows, which then belongs to the run."""
        return False

    @property
    def loading(self) -> Hashable:
        """Whatever of the strategy `load_tokenizer` and `load` depend on.

        Strategies of the same value share what these two give.
        """
        return repr(self) if self.trains_tokenizer else type(self).load

    def load_tokenizer(
        self, model: Model, task: Task, rows: Sequence[Row]
    ) -> PreTrainedTokenizerBase:
        """Return what turns texts into tokens; `rows` are those to train on."""
        return model.load_tokenizer()

    def load(
        self, model: Model, task: Task, labels: Sequence[str], tokenizer: PreTrainedTokenizerBase
    ) -> nn.Module:
        """Return the network with the task's head; missing weights are drawn at random."""
        network: nn.Module = model.load_network(task.auto_class, **task.config(labels))
        return network

    def check_architecture(self, skeleton: nn.Module) -> None:
        """Raise ConfigError where `adapt` would; the skeleton has no weights and may be changed."""

    def adapt(self, network: nn.Module) -> nn.Module:
        """Return the network with `requires_grad` set on what is trained, and on no more."""
        return network

    def stepping(self, network: Any, step: int, num_steps: int) -> AbstractContextManager[None]:
        """Return what optimizer step `step` of `num_steps`, counted from 1, happens within.

        The gradients of the whole batch are there before it and after it, on every rank the same.
        """
        return nullcontext()

    def export(self, network: Any, tokenizer: Any, model: Model, task: Task, folder: Path) -> str:
        """Write the trained network to `folder`; return Python lines that load it from "."."""
        network.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return task.usage()

    @classmethod
    def needs_base(cls, folder: Path) -> bool:
        """Return whether the export in `folder` needs the pretrained model besides."""
        return False

    @classmethod
    def load_export(
        cls, folder: Path, task: Task, labels: Sequence[str], base: str | None
    ) -> tuple[nn.Module, Strategy | None]:
        """Return the network that `export` wrote, and what prepares its rows, if anything does.

        Args:
            folder: What `export` wrote.
            task: The task that the network was trained for.
            labels: The labels in the order of their class numbers.
            base: Folder or hub name of the pretrained model; None if it is in `folder` itself.

        """
        import torch
        import transformers

        auto = getattr(transformers, task.auto_class)
        return auto.from_pretrained(folder, dtype=torch.float32, use_safetensors=True), None


def silence_dropout(frozen: nn.Module) -> None:
    """Switch dropout off, in place: a frozen layer has nothing to regularise.

    It also costs a tenth of a step on a CPU, and it would draw random numbers that differ
    between a run alone and the same run among others.
    """
    from torch import nn

    modules: Iterator[Any] = frozen.modules()
    for module in modules:
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in _DROPOUTS:
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


# What layers hand to a function: ModernBERT's and Llama's attention, all of BART.
_DROPOUTS = ("attention_dropout", "activation_dropout", "dropout", "layerdrop")
