"""Virtual tokens: trained vectors before every text, in front of a frozen network.

They use some of the model's positions. The outputs at these positions do not belong to the text and
are cut off. Nothing can be merged, so an export is the adapter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.machine.memory import is_out_of_memory
from lightning_modules.model.kind import Kind
from lightning_modules.schema import positive
from lightning_modules.strategy.adapter.base import PeftStrategy, answers

if TYPE_CHECKING:
    from torch import nn

    from lightning_modules.model.base import Model
    from lightning_modules.task.base import Task


@dataclass(frozen=True, kw_only=True)
class VirtualTokens(PeftStrategy):
    """Train virtual tokens, and the head.

    Attributes:
        num_tokens: Virtual tokens, > 0; a text can have that many fewer tokens.

    """

    num_tokens: int

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from positive(self, "num_tokens")

    @property
    def num_virtual_tokens(self) -> int:
        return self.num_tokens

    @property
    def merges(self) -> bool:
        return False

    def adapt(self, network: nn.Module) -> nn.Module:
        adapted = super().adapt(network)
        with self.translating_errors():
            check_answers(adapted)
        return adapted


def check_reads_prompt(strategy: str, model: Model, task: Task) -> None:
    """Raise ConfigError if the model must find where a padded text ends, which vectors hide."""
    if model.known_kind() is Kind.decoder and "SequenceClassification" in task.auto_class:
        rule = f"strategy={strategy} needs a model that does not classify by a text's last token"
        got = Verbatim(f"{model.name}, of kind decoder")
        raise ConfigError(Problem("model", rule, got, "Set strategy=prefix_tuning."))


def check_answers(network: Any) -> None:
    """Run the network once: some PEFT methods only fail in the forward pass."""
    try:
        answers(network)
    except (RuntimeError, IndexError) as error:
        if is_out_of_memory(error):
            raise
        raise ValueError(str(error)) from error
