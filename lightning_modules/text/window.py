"""A question and a context that is too long to be read at once: windows that overlap.

Each window has the whole question and a part of the context, as
`[CLS] question [SEP] part [SEP]`, in at most `max_length` tokens (Devlin et al. 2019,
arXiv:1810.04805, for SQuAD). The next part begins `doc_stride` tokens before the end of the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Span = tuple[int, int]
"""Where a text begins and ends, in characters or, both included, in tokens."""


@dataclass(frozen=True)
class Sizes:
    """How windows are cut, in tokens.

    Attributes:
        max_length: Of a window, special tokens included.
        max_question: Of a question, at most half of what is no special token; the rest is cut.
        doc_stride: What neighbours share, at most half of a window's part of the context.

    """

    max_length: int
    max_question: int
    doc_stride: int


def windows(parts: Sequence[int | None], sizes: Sizes) -> Iterator[list[int]]:
    """Yield the places of each window's tokens in the pair's.

    Args:
        parts: Of each token of the pair 0 for the question, 1 for the context, None for neither.
        sizes: How to cut; `max_length` leaves room for at least two tokens beside the special ones.

    >>> list(windows([None, 0, 0, None, 1, 1, 1, None], Sizes(6, 1, 1)))
    [[0, 1, 3, 4, 5, 7], [0, 1, 3, 5, 6, 7]]

    """
    question = [place for place, part in enumerate(parts) if part == 0]
    context = [place for place, part in enumerate(parts) if part == 1]
    free = sizes.max_length - (len(parts) - len(question) - len(context))
    assert free >= 2, f"{sizes.max_length} tokens hold no window"
    cut = set(question[min(sizes.max_question, free // 2) :])
    begin = context[0] if context else len(parts)
    before = [place for place in range(begin) if place not in cut]
    after = list(range(begin + len(context), len(parts)))
    room = sizes.max_length - len(before) - len(after)
    step = room - min(sizes.doc_stride, room // 2)
    for start in range(0, max(1, len(context)), step):
        yield [*before, *context[start : start + room], *after]
        if start + room >= len(context):
            return


def context_spans(
    parts: Sequence[int | None], offsets: Sequence[Span], context: str
) -> list[Span | None]:
    """Return where each token's text stands in the context, space at its ends left out.

    A token that is no part of the context, or nothing but space there, has None.
    """
    return [
        _without_space(span, context) if part == 1 else None
        for part, span in zip(parts, offsets, strict=True)
    ]


def tokens_of(spans: Sequence[Span | None], start: int, end: int) -> Span | None:
    """Return the first and the last token of the characters; None where they have no token.

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
