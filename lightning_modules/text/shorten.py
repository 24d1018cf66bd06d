"""Prompts that are too long lose the middle of their texts, never their frame.

The frame is what a template writes: the first token, the system prompt, the ends of messages, and
the start of the answer. The longest texts lose tokens first, until all have at most as many:

    sum_i min(n_i, cap) <= size - frame,  with the largest such cap, for texts of n_i tokens

If the frame alone is too long, e.g. in a conversation of many turns, everything between the system
prompt and the end is cut from its start.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_modules.error import DataError, Problem, Verbatim
from lightning_modules.model.plain import Reader

Span = tuple[int, int]
"""Start and end, with the end excluded."""
SYSTEM = ("system", "developer")
"""Roles of messages that are never cut."""
CUT = ", prompts cut in the middle"
"""In the cache keys of tasks: examples of earlier versions lost the start of their prompts."""


@dataclass(frozen=True)
class Parts:
    """Which characters of a prompt may be cut.

    Attributes:
        texts: The row's texts in it.
        head: Characters at its start that always stay: up to the end of the system prompt.

    """

    texts: tuple[Span, ...] = ()
    head: int = 0


NOTHING = Parts()


def parts_of_messages(prompt: str, messages: Sequence[Any]) -> Parts:
    """Return the parts of a prompt that a chat template made of messages.

    A text that the template writes in another way is not found, and so not cut.
    """
    texts, at, head = [], 0, 0
    for message in messages:
        content = message.get("content") or ""
        found = _find(prompt, content, at) if isinstance(content, str) else None
        if found is None:
            continue
        at = found[1]
        if message["role"] in SYSTEM:
            head = at
        else:
            texts.append(found)
    return Parts(tuple(texts), head)


def shortened(reader: Reader, prompt: str, parts: Parts, size: int, most: int) -> list[int]:
    """Return the tokens of a prompt, of which `size` are left, or as many as the frame has.

    Args:
        reader: Reads the prompt.
        prompt: The prompt's text, with marks before the special tokens that are text.
        parts: What of it may be cut.
        size: Most tokens of the prompt, unless the frame alone has more.
        most: Most tokens of the frame.

    Raises:
        DataError: The system prompt and the template's end alone are longer.

    """
    ids, offsets = reader.read(prompt)
    if len(ids) <= size:
        return ids
    spans, head, tail = _of_tokens(offsets, parts, len(ids), reader, prompt)
    cut = cut_middles(ids, spans, size)
    if len(cut) > size:
        if head + tail > most:
            more = head + tail - most
            rule = "must hold the system prompt and the template"
            got = Verbatim(f"{more} token{'s' * (more > 1)} too few")
            raise DataError(Problem("data.max_length", rule, got, "Raise it, or shorten them."))
        size = max(size, head + tail)
        cut = [*cut[:head], *cut[len(cut) - (size - head) :]]
    return cut


def cut_middles(ids: Sequence[int], spans: Iterable[Span], size: int) -> list[int]:
    """Return the tokens without the middles of spans; more than `size` if the rest is longer.

    >>> cut_middles([1, 2, 3, 4, 5, 6, 7, 8, 9], [(1, 3), (4, 8)], 7)
    [1, 2, 3, 4, 5, 8, 9]
    """
    spans = list(spans)
    lengths = [end - begin for begin, end in spans]
    cap = _cap(lengths, size - (len(ids) - sum(lengths)))
    kept: list[int] = []
    at = 0
    for begin, end in spans:
        first = begin + min((cap + 1) // 2, end - begin)
        last = max(end - cap // 2, first)
        if end - begin <= cap:
            first = last = end
        kept += ids[at:first]
        at = last
    return [*kept, *ids[at:]]


def _cap(lengths: Sequence[int], left: int) -> int:
    """Return the largest cap under which lengths add up to what is left.

    >>> _cap([2, 4], 4), _cap([2, 4], 100), _cap([2], -1)
    (2, 4, 0)
    """
    low, high = 0, max(lengths, default=0)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(length, middle) for length in lengths) <= left:
            low = middle
        else:
            high = middle - 1
    return low


def _of_tokens(
    offsets: Sequence[Span] | None, parts: Parts, num_tokens: int, reader: Reader, prompt: str
) -> tuple[list[Span], int, int]:
    """Return the texts' spans in tokens, and the number of tokens of the head and of the end."""
    if offsets is None:  # a tokenizer that does not say where its tokens are
        sizes = (
            len(reader.read(text)[0])
            for text in (prompt[: parts.head], prompt[parts.texts[-1][1] if parts.texts else 0 :])
        )
        head, tail = sizes
        return [(head, num_tokens - tail)], head, tail
    spans = []
    for begin, end in parts.texts:
        inside = [n for n, (first, last) in enumerate(offsets) if begin <= first < last <= end]
        if inside:
            spans.append((inside[0], inside[-1] + 1))
    head = sum(first < parts.head for first, _ in offsets)
    last = parts.texts[-1][1] if parts.texts else len(prompt)
    return spans, head, sum(first >= last for first, _ in offsets)


def _find(prompt: str, content: str, at: int) -> Span | None:
    for text in (content, content.strip()):
        begin = prompt.find(text, at)
        if text and begin >= 0:
            return begin, begin + len(text)
    return None
