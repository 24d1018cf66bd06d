from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from lightning_modules.model.kind import Kind
from lightning_modules.rows.embedded import REVIEWS
from lightning_modules.text.tokenizer import Vocabulary, train_tokenizer
from lightning_modules.text.window import Sizes, context_spans, tokens_of, windows

QUESTION = "Who wrote the book, and when did it come out?"
CONTEXT = " ".join(REVIEWS.read_text(encoding="utf-8").split()[:150])


def make_tokenizer(kind: Kind = Kind.encoder) -> Any:
    return train_tokenizer([CONTEXT], Vocabulary.bpe, 400, kind)


def cut(tokenizer: Any, context: str, sizes: Sizes) -> list[list[int]]:
    read = tokenizer(QUESTION, context, verbose=False)
    found = windows(read.sequence_ids(0), sizes)
    return [[read["input_ids"][place] for place in window] for window in found]


@pytest.mark.parametrize("kind", [Kind.encoder, Kind.decoder])
@pytest.mark.parametrize(("max_length", "doc_stride"), [(64, 8), (100, 0), (100, 30), (5000, 128)])
def test_windows_equal_those_of_transformers(kind: Kind, max_length: int, doc_stride: int) -> None:
    tokenizer = make_tokenizer(kind)
    reference = tokenizer(
        QUESTION,
        CONTEXT,
        truncation="only_second",
        max_length=max_length,
        stride=doc_stride,
        return_overflowing_tokens=True,
    )["input_ids"]
    assert cut(tokenizer, CONTEXT, Sizes(max_length, 5000, doc_stride)) == reference


@pytest.mark.parametrize("max_length", [6, 7, 20, 50])
@pytest.mark.parametrize("doc_stride", [0, 3, 128])
def test_every_window_fits_and_every_token_is_in_one(max_length: int, doc_stride: int) -> None:
    parts = [None, *[0] * 30, None, *[1] * 99, None]
    found = list(windows(parts, Sizes(max_length, 64, doc_stride)))
    assert {len(window) for window in found[:-1]} == {max_length} and len(found[-1]) <= max_length
    context = range(32, 131)
    read = [[place for place in window if place in context] for window in found]
    assert sorted({place for window in read for place in window}) == list(context)
    # Neighbours share what is configured, but never so much that windows stop advancing.
    room = len(read[0])
    shared = [len({*one} & {*other}) for one, other in pairwise(read)]
    assert set(shared) == {min(doc_stride, room // 2)}
    questions = [[place for place in window if 1 <= place <= 30] for window in found]
    assert questions == [list(range(1, 1 + min(30, (max_length - 3) // 2)))] * len(found)


def test_a_context_without_tokens_is_one_window() -> None:
    assert list(windows([None, 0, 0, None, None], Sizes(5, 1, 2))) == [[0, 1, 3, 4]]


def test_tokens_have_the_positions_of_their_characters() -> None:
    tokenizer = make_tokenizer()
    context = f"  {CONTEXT} \u00fc\u4e2d \ufe0f"
    read = tokenizer(QUESTION, context, return_offsets_mapping=True)
    spans = context_spans(read.sequence_ids(0), read["offset_mapping"], context)
    found = [span for span in spans if span is not None]
    assert all(context[start:end].strip() == context[start:end] != "" for start, end in found)
    covered = {place for start, end in found for place in range(start, end)}
    assert covered == {place for place, letter in enumerate(context) if not letter.isspace()}
    start = context.index("\u00fc")
    tokens = tokens_of(spans, start, start + 2)
    assert tokens is not None
    first, last = (spans[token] for token in tokens)
    assert first is not None and last is not None
    assert (first[0], last[1]) == (start, start + 2)


def test_only_space_has_no_token() -> None:
    assert tokens_of([None, (0, 4), None, (5, 9)], 4, 5) is None
