"""Overlapping windows over a question and a context that is too long to be read at once.

Each window has the whole question and a part of the context, e.g.
`[CLS] question [SEP] part [SEP]`, in at most `max_length` tokens (Devlin et al. 2019,
arXiv:1810.04805, for SQuAD). Each part starts `doc_stride` tokens before the end of the last one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Span = tuple[int, int]
"""Start and end of a text: in characters with the end excluded, in tokens with it included."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of windows, in tokens.

    Attributes:
        max_length: Most tokens of a window, including special tokens.
        max_question: Most tokens of a question, but never more than half of a window without its
            special tokens; the rest is cut off.
        doc_stride: Tokens of the context that neighbours share, but never more than half of a
            window's part of the context.

    """

    max_length: int
    max_question: int
    doc_stride: int


def windows(parts: Sequence[int | None], sizes: Sizes) -> Iterator[list[int]]:
    """Yield, for each window, the indices of its tokens in the encoded pair.

    Args:
        parts: For each token of the pair, 0 for the question, 1 for the context, None for neither.
        sizes: The sizes; `max_length` must exceed the special tokens by at least 2.

    >>> list(windows([None, 0, 0, None, 1, 1, 1, None], Sizes(6, 1, 1)))
    [[0, 1, 3, 4, 5, 7], [0, 1, 3, 5, 6, 7]]

    """
    question = [place for place, part in enumerate(parts) if part == 0]
    context = [place for place, part in enumerate(parts) if part == 1]
    free = sizes.max_length - (len(parts) - len(question) - len(context))
    assert free >= 2, f"{sizes.max_length} tokens are too few for a window"
    cut = set(question[min(sizes.max_question, free // 2) :])
    begin = context[0] if context else len(parts)
    before = [place for place in range(begin) if place not in cut]
    after = list(range(begin + len(context), len(parts)))
    size = sizes.max_length - len(before) - len(after)
    step = size - min(sizes.doc_stride, size // 2)
    for start in range(0, max(1, len(context)), step):
        yield [*before, *context[start : start + size], *after]
        if start + size >= len(context):
            return


def context_spans(
    parts: Sequence[int | None], offsets: Sequence[Span], context: str
) -> list[Span | None]:
    """Return the range of each token's text in the context, without space at its ends.

    A token outside the context, or with only space, has None.
    """
    return [
        _without_space(span, context) if part == 1 else None
        for part, span in zip(parts, offsets, strict=True)
    ]


def tokens_of(spans: Sequence[Span | None], start: int, end: int) -> Span | None:
    """Return the first and the last token that overlap the characters; None if no token does.

    >>> tokens_of([None, (0, 2), (3, 7), (7, 8)], 3, 8)
    (2, 3)
    """
    inside = [
        place
        for place, span in enumerate(spans)
        if span is not None and span[1] > start and span[0] < end
    ]
    return (inside[0], inside[-1]) if inside else None


def _without_space(span: Span, context: str) -> Span | None:
    start, end = span
    while start < end and context[start].isspace():
        start += 1
    while start < end and context[end - 1].isspace():
        end -= 1
    return (start, end) if start < end else None
