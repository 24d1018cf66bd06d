"""Texts as tokens, in the time of the tokenizer's own code.

A call of a fast tokenizer of transformers makes several Python objects of each text, which takes a
third of the time. Only the columns are needed here. Of many texts, words are read once if the
tokenizer reads each alone (`text.word`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning_modules.model.light import LightTokenizer
from lightning_modules.text.word import read_words

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
    columns = _read(backend, texts, pairs)
    wanted = {"input_ids", *tokenizer.model_input_names}
    return {name: column for name, column in columns.items() if name in wanted}


def _read(
    backend: Any, texts: Sequence[str], pairs: Sequence[str] | None
) -> dict[str, list[list[int]]]:
    if pairs is None and (words := read_words(backend, texts)) is not None:
        types = [[0] * len(ids) for ids in words]
        return {"input_ids": words, "token_type_ids": types, "attention_mask": _ones(words)}
    found = backend.encode_batch(texts if pairs is None else list(zip(texts, pairs, strict=True)))
    tokens = [each.ids for each in found]
    types = [each.type_ids for each in found]
    return {"input_ids": tokens, "token_type_ids": types, "attention_mask": _ones(tokens)}


def _ones(tokens: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the mask of tokens that are not padded."""
    return [[1] * len(ids) for ids in tokens]


def _is_fast(tokenizer: Any) -> bool:
    """Return whether a tokenizer's call is that of all fast ones of transformers."""
    if isinstance(tokenizer, LightTokenizer):
        return False
    from transformers import PreTrainedTokenizerFast

    return isinstance(tokenizer, PreTrainedTokenizerFast) and all(
        getattr(type(tokenizer), name, None) is getattr(PreTrainedTokenizerFast, name, None)
        for name in _CALLED
    )
