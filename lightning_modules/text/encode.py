"""Texts as tokens, in the time of the tokenizer's own code.

A call of a fast tokenizer of transformers makes several Python objects of each text, which takes a
third of the time. Only the columns are needed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning_modules.model.light import LightTokenizer

_CALLED = ("__call__", "_switch_to_input_mode", "_encode_plus", "_convert_encoding")
"""What a call runs; tokenizers of translation models switch to the language of the texts."""


def read_texts(
    tokenizer: Any, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int
) -> dict[str, list[Any]]:
    """Return `tokenizer(texts, pairs, truncation=True, max_length=max_length)` as columns."""
    if not texts or not _is_fast(tokenizer):
        return dict(tokenizer(texts, pairs, truncation=True, max_length=max_length))
    from transformers.tokenization_utils_base import TruncationStrategy
    from transformers.utils import PaddingStrategy

    tokenizer.set_truncation_and_padding(
        padding_strategy=PaddingStrategy.DO_NOT_PAD,
        truncation_strategy=TruncationStrategy.LONGEST_FIRST,
        max_length=max_length,
        stride=0,
        pad_to_multiple_of=None,
        padding_side=None,
    )
    backend = tokenizer.backend_tokenizer
    backend.encode_special_tokens = tokenizer.split_special_tokens
    found = backend.encode_batch(texts if pairs is None else list(zip(texts, pairs, strict=True)))
    columns = {"input_ids": [each.ids for each in found]}
    names = tokenizer.model_input_names
    if "token_type_ids" in names:
        columns["token_type_ids"] = [each.type_ids for each in found]
    if "attention_mask" in names:
        columns["attention_mask"] = [each.attention_mask for each in found]
    return columns


def _is_fast(tokenizer: Any) -> bool:
    """Return whether a tokenizer's call is that of all fast ones of transformers."""
    if isinstance(tokenizer, LightTokenizer):
        return False
    from transformers import PreTrainedTokenizerFast

    return isinstance(tokenizer, PreTrainedTokenizerFast) and all(
        getattr(type(tokenizer), name, None) is getattr(PreTrainedTokenizerFast, name, None)
        for name in _CALLED
    )
