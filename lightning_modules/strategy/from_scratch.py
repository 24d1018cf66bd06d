"""Training from scratch: only the architecture is used; every weight is initialized at random.

The gap to this baseline is what a pretrained model is worth. The weights depend only on the run's
seed, so no pretrained ones are read; the tokenizer is the model's, or is trained on the training
rows (`lightning_modules.text.tokenizer`).
Cost: that of full fine-tuning per step, and many more steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_modules.error import Problem
from lightning_modules.rows.corpus import Row
from lightning_modules.schema import positive
from lightning_modules.strategy.base import Strategy
from lightning_modules.text.tokenizer import Vocabulary, train_light, train_tokenizer

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from lightning_modules.model.base import Model
    from lightning_modules.model.light import LightTokenizer
    from lightning_modules.model.size import Size
    from lightning_modules.task.base import Task

MIN_VOCABULARY = 300  # 256 bytes, the special tokens, and something to merge


@dataclass(frozen=True, kw_only=True)
class FromScratch(Strategy):
    """Train everything, starting from random weights.

    Attributes:
        tokenizer: `own` (the model's), `bpe` or `characters` (trained on the training rows).
        vocabulary_size: Number of tokens for `bpe`, >= 300.

    """

    reads_weights: ClassVar[bool] = False

    tokenizer: Vocabulary
    vocabulary_size: int

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from positive(self, "vocabulary_size")
        if 0 < self.vocabulary_size < MIN_VOCABULARY:
            yield Problem("vocabulary_size", f"must be >= {MIN_VOCABULARY}", self.vocabulary_size)

    def num_trained(self, size: Size) -> float:
        return size.parameters

    def export_dtype(self, model: Model) -> str | None:
        return None  # the model's file has no part in these weights

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

    def light_tokenizer(
        self, model: Model, task: Task, rows: Sequence[Row]
    ) -> LightTokenizer | None:
        if not self.trains_tokenizer:
            return model.light_tokenizer()
        texts = chain.from_iterable(map(task.texts, rows))
        return train_light(texts, self.tokenizer, self.vocabulary_size, model.known_kind())

    def load(
        self, model: Model, task: Task, labels: Sequence[str], tokenizer: PreTrainedTokenizerBase
    ) -> nn.Module:
        changes = task.config(labels) | (_ids(tokenizer) if self.trains_tokenizer else {})
        network: nn.Module = model.new_network(task.auto_class, **changes)
        return network


def _ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return the values of a model's configuration that describe its tokenizer."""
    return {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "decoder_start_token_id": tokenizer.bos_token_id,
        "forced_bos_token_id": None,
        "forced_eos_token_id": None,
    }
