"""Pairs of answers to one prompt, one chosen and one rejected, as one example each.

A row is in one of TRL's formats, with or without its prompt apart:
`{"text": "Two and two?", "chosen": "4", "rejected": "5"}`, `{"chosen": "2 + 2 = 4", "rejected":
"2 + 2 = 5"}`, or with lists of messages in place of the texts. Without a prompt, it is what the two
have in common at their start.

The tokens of a pair alternate: the first of the chosen text, the first of the rejected one, the
second of the chosen one, and so on, the shorter one padded. So a pair is one example, of twice the
length of its longer text, which can be batched, cut into micro-batches and padded like any other;
`halves` takes a batch of pairs apart.

Shapes: B pairs, T tokens of a text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from lightning_modules.batch.type import IGNORED
from lightning_modules.rows.cell import Refused
from lightning_modules.rows.corpus import Row
from lightning_modules.text.answered import led
from lightning_modules.text.chat import ASSISTANT, Messages, contents
from lightning_modules.text.shorten import Parts
from lightning_modules.text.template import TEXT, filled, written

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_modules.text.causal import Marks

WHOLE = "{text}"
Said = str | Messages
"""A text, or messages."""


@dataclass(frozen=True)
class Pair:
    """A prompt and two answers to it: all texts, or all messages.

    Attributes:
        prompt: The prompt; empty if two texts have no common start.
        chosen: The better answer.
        rejected: The other one.
        is_whole: Whether the prompt is the beginning of both texts and needs no template.

    """

    prompt: Any
    chosen: Any
    rejected: Any
    is_whole: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether they are texts, not messages."""
        return isinstance(self.prompt, str)

    @property
    def texts(self) -> tuple[str, str, str]:
        """The three as texts."""
        prompt, chosen, rejected = map(text_of, (self.prompt, self.chosen, self.rejected))
        return prompt, chosen, rejected


def text_of(said: Said) -> str:
    """Return a text, or the contents of messages, one per line."""
    return said if isinstance(said, str) else contents(said)


def pair_of(row: Row) -> Pair:
    """Return the pair of a row that `refused_pair` accepts."""
    found = _read(row)
    assert isinstance(found, Pair)
    return found


def refused_pair(row: Row) -> tuple[str, Refused] | None:
    """Return the field of a row that does not fit the others, and why; None if all fit."""
    found = _read(row)
    return None if isinstance(found, Pair) else found


def _read(row: Row) -> Pair | tuple[str, Refused]:
    prompt, chosen, rejected = row.get("text"), row["chosen"], row["rejected"]
    if isinstance(chosen, str) != isinstance(rejected, str):
        rule = "must be a text if chosen is one, and messages if chosen is"
        return "rejected", Refused(rule)
    if not isinstance(chosen, str):
        return _talk(prompt, chosen, rejected)
    if prompt is None:
        return _without_prompt(chosen, rejected)
    if isinstance(prompt, str):
        return Pair(prompt, chosen, rejected)
    return _talk(prompt, _answer(chosen), _answer(rejected))


def _answer(text: str) -> Messages:
    return [{"role": ASSISTANT, "content": text}]


def _without_prompt(chosen: str, rejected: str) -> Pair:
    """Return two texts with their common start as the prompt; no word is cut in two.

    The space before the first word that differs belongs to the answers, as in TRL.
    """
    size = num_shared(chosen, rejected)
    while size and not chosen[size - 1].isspace():
        size -= 1
    if chosen[size - 1 : size] == " ":
        size -= 1
    return Pair(chosen[:size], chosen[size:], rejected[size:], is_whole=True)


def num_shared(first: Sequence[Any], second: Sequence[Any]) -> int:
    """Return how many items two sequences have in common at their start.

    >>> num_shared("2 + 2", "2 + 3")
    4
    """
    pairs = enumerate(zip(first, second, strict=False))
    return next((at for at, (one, two) in pairs if one != two), min(len(first), len(second)))


def _talk(prompt: Said | None, chosen: Messages, rejected: Messages) -> Pair | tuple[str, Refused]:
    if chosen[0]["role"] != ASSISTANT or rejected[0]["role"] != ASSISTANT:
        # Whole conversations. A prompt beside them repeats their first messages.
        shared = num_shared(chosen, rejected)
        while shared and any(len(each) <= shared for each in (chosen, rejected)):
            shared -= 1  # equal conversations
        prompt, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
    elif isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    if not prompt:
        rule = "must start with messages that both answers have in common, or have a prompt"
        return "chosen", Refused(rule, "Set data.text=COLUMN, the column of the prompts.")
    for field, answer in (("chosen", chosen), ("rejected", rejected)):
        if answer[0]["role"] != ASSISTANT:
            return field, Refused(f"must answer with a message whose role is {ASSISTANT!r}")
    if prompt[-1]["role"] == ASSISTANT:
        rule = f"must end with a message whose role is not {ASSISTANT!r}"
        return "chosen", Refused(rule)
    return Pair(prompt, chosen, rejected)


def asked(pair: Pair, template: str) -> str:
    """Return the text of a plain pair's prompt, in a template with `{text}` unless it is whole."""
    prompt: str = pair.prompt
    return prompt if pair.is_whole else filled(template, {TEXT: prompt})


CutPrompt = Callable[[int, int], list[int]]
"""Returns a prompt, given the most tokens that it may have, and those that its frame may have."""


def tokens_of(
    pair: Pair, marks: Marks, template: str, chat_template: str, system: str | None = None
) -> tuple[CutPrompt, list[list[int]]]:
    """Return what makes the tokens of a pair's prompt, and those of the two answers with their end.

    Args:
        pair: The pair.
        marks: The tokenizer.
        template: The form of a plain prompt, with `{text}`.
        chat_template: The form of messages, if the tokenizer has none.
        system: The system message of messages that have none.

    """
    mark = marks.reader.mark
    pair = Pair(mark(pair.prompt), mark(pair.chosen), mark(pair.rejected), pair.is_whole)
    said = (pair.chosen, pair.rejected)
    if pair.is_plain:
        form = WHOLE if pair.is_whole else template
        text, places = written(form, {TEXT: pair.prompt})
        prompt = partial(marks.prompt, text, Parts(places, places[0][0]), is_plain=True)
        return prompt, [marks.ended(marks.ids(each)) for each in said]
    chat = marks.chat(chat_template)
    messages = led(pair.prompt, mark(system))
    exchanges = [chat.exchange([*messages, *each], start=len(messages)) for each in said]
    answers = [marks.ended(marks.ids(each.answer)) for each in exchanges]
    first = exchanges[0]
    return partial(marks.prompt, first.question, first.parts, is_plain=False), answers


@dataclass(frozen=True)
class Tokens:
    """The tokens of a text, and the target at each place; `IGNORED` where there is none."""

    inputs: Sequence[int]
    targets: Sequence[int]


def continued(prompt: CutPrompt, answers: Sequence[Sequence[int]], size: int) -> list[Tokens]:
    """Return a prompt with each answer as targets, of at most `size` tokens each.

    If they are longer, the prompt is cut and the answers lose their end; each keeps at least half
    of `size`. All have the same prompt.

    >>> continued(lambda size, most: [1, 2], [[3, 4], [5]], 8)[1]
    Tokens(inputs=[1, 2], targets=[-100, 5])
    """
    longest = max(map(len, answers))
    begin = prompt(max(size + 1 - longest, size // 2), size)
    found = []
    for answer in answers:
        targets = list(answer[: size + 1 - len(begin)])
        inputs = [*begin, *targets][:-1]
        found.append(Tokens(inputs, [IGNORED] * (len(begin) - 1) + targets))
    return found


def alternated(first: Sequence[int], second: Sequence[int], filler: int) -> list[int]:
    """Return two sequences as one in which they take turns.

    >>> alternated([1, 2], [3], filler=0)
    [1, 3, 2, 0]
    """
    size = max(len(first), len(second))
    padded = ([*each, *[filler] * (size - len(each))] for each in (first, second))
    return [number for turn in zip(*padded, strict=True) for number in turn]


def halves(pairs: Tensor) -> Tensor:
    """Return the chosen texts of a batch of pairs (B, 2T), then the rejected ones: (2B, T)."""
    by_turn = pairs.view(len(pairs), -1, 2)
    return by_turn.permute(2, 0, 1).flatten(0, 1)
