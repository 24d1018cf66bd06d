"""Training from scratch: the architecture alone is used, every weight is drawn at random.

What a pretrained model is worth is its distance to this one. The weights come from the run's
seed, so nothing of the pretrained ones is read; the tokenizer stays, or is made of the rows to
train on (`lightning_modules.text.tokenizer`).
Cost: that of full fine-tuning a step, and many more steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from lightning_modules.error import Problem
from lightning_modules.rows.corpus import Row
from lightning_modules.schema import positive
from lightning_modules.strategy.base import Strategy
from lightning_modules.text.tokenizer import Vocabulary, train_tokenizer

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from lightning_modules.model.base import Model
    from lightning_modules.task.base import Task

MIN_VOCABULARY = 300  # 256 bytes, the special tokens, and something to merge


@dataclass(frozen=True, kw_only=True)
class FromScratch(Strategy):
    """Train everything, beginning with random weights.

    Attributes:
        tokenizer: `own` (the model's), `bpe` or `characters` (made of the training rows).
        vocabulary_size: Tokens of `bpe`, >= 300.

    """

    tokenizer: Vocabulary
    vocabulary_size: int

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from positive(self, "vocabulary_size")
        if 0 < self.vocabulary_size < MIN_VOCABULARY:
            yield Problem("vocabulary_size", f"must be >= {MIN_VOCABULARY}", self.vocabulary_size)

    @property
    def trains_tokenizer(self) -> bool:
        return self.tokenizer is not Vocabulary.own

    def load_tokenizer(
        self, model: Model, task: Task, rows: Sequence[Row]
    ) -> PreTrainedTokenizerBase:
        if not self.trains_tokenizer:
            return model.load_tokenizer()
        texts = chain.from_iterable(map(task.texts, rows))
        return train_tokenizer(texts, self.tokenizer, self.vocabulary_size, model.known_kind())

    def load(
        self, model: Model, task: Task, labels: Sequence[str], tokenizer: PreTrainedTokenizerBase
    ) -> nn.Module:
        changes = task.config(labels) | (_ids(tokenizer) if self.trains_tokenizer else {})
        network: nn.Module = model.new_network(task.auto_class, **changes)
        return network


def _ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return what a configuration says of its tokenizer."""
    return {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "decoder_start_token_id": tokenizer.bos_token_id,
        "forced_bos_token_id": None,
        "forced_eos_token_id": None,
    }
